import BillingCore
import Foundation
import Postgres
import TestSupport
import Testing
import Web

/// Random stories of budgets, quotas and spend caps, and of the calls that they bound. Each answer must be what
/// `limits/reference.py` says, which shares no code with the service.
@Suite(.timeLimit(.minutes(15)))
struct LimitReferenceTests {
    @Test(
        "calls that are admitted, settled and forgotten under limits of many kinds are answered as by the reference",
        .enabled(if: TestTools.isCI || TestTools.installed("python") != nil, "the virtual environment is not there"),
        arguments: 1...8
    )
    func story(seed: Int) async throws {
        let story = try await LimitStory(seed: seed)
        try await TestServer.run { server in try await story.play(server) }
    }
}

/// A story that the reference tells: requests with what they must answer, and the passing of time between them.
struct LimitStory {
    struct Differs: Error, CustomStringConvertible {
        let description: String
    }

    private let seed: Int
    private let steps: [JSONValue]

    init(seed: Int) async throws {
        let python = try #require(TestTools.installed("python"), "run scripts/test: it makes the environment")
        let script = TestTools.packageRoot.appendingPathComponent("Tests/ScenariosTests/limits/reference.py")
        let text = try await TestTools.run(
            python.path,
            ["-B", script.path, String(seed)],
            in: script.deletingLastPathComponent()
        )
        self.seed = seed
        steps = try text.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    }

    /// - Throws: `Differs` at the first answer that is not the reference's: what follows it says nothing more.
    func play(_ server: TestServer) async throws {
        #expect(!steps.isEmpty)
        var saved: [String: String] = [:]
        for (index, step) in steps.enumerated() {
            do {
                if let seconds = try step["advance"].map({ try #require(Int64($0.text)) }) {
                    try await Self.advance(server, seconds: seconds)
                } else {
                    try await Self.ask(server, step, &saved)
                }
            } catch {
                throw Differs(description: "seed \(seed), step \(index): \(step.text)\n\(error)")
            }
        }
    }

    /// Lets time pass, and whatever it ends end, and plans come into force.
    private static func advance(_ server: TestServer, seconds: Int64) async throws {
        server.clock.advance(seconds: seconds)
        let now = server.clock.now
        let isDone = try await eventually {
            try await server.column(
                """
                SELECT reservation_id::text FROM reservation WHERE status = 'held' AND suspense_ends_at <= \(now)
                UNION ALL SELECT subscription_id::text FROM subscription WHERE limits_due_at <= \(now)
                """
            ).isEmpty
        }
        #expect(isDone, "reservations whose suspense is over go on holding, or plans stay out of force")
    }

    private static func ask(_ server: TestServer, _ step: JSONValue, _ saved: inout [String: String]) async throws {
        let method = try #require(step["method"]?.string)
        let path = filled(try #require(step["path"]?.string), saved)
        let body = step["body"].map { Array(filled($0.text, saved).utf8) }
        let answer = try await server.operatorClient.send(method, "/api/v1\(path)", body: body)
        guard String(answer.status) == step["status"]?.text else {
            throw Differs(description: "\(method) \(path) is answered with \(answer.status): \(answer.text)")
        }
        for expected in step["expect"]?.members ?? [] {
            let value = try JSONValue(parsing: filled(expected.value.text, saved))
            if let difference = Expectation.difference(answer.json.at(expected.name), value, at: expected.name) {
                throw Differs(description: "\(difference)\nof \(answer.text)")
            }
        }
        for name in step["save"]?.members ?? [] {
            let pointer = try #require(name.value.string)
            let found = try #require(answer.json.at(pointer))
            saved[name.name] = found.string ?? found.text
        }
        if method != "GET" { try await server.rowsFollowBudgets() }
    }

    /// The text with what was saved in place of `${name}`.
    private static func filled(_ text: String, _ saved: [String: String]) -> String {
        guard text.contains("${") else { return text }
        return saved.reduce(text) { $0.replacing("${\($1.key)}", with: $1.value) }
    }
}

/// What the reference expects of an answer: a value as it stands, null where there is none, `{"number": …}` by value,
/// `{"set": […]}` in any order, or `{"rows": […]}`, of which each `match` is there, and is as it says wherever it is.
private enum Expectation {
    /// What is other than expected, if anything.
    static func difference(_ found: JSONValue?, _ expected: JSONValue, at pointer: String) -> String? {
        let found = found ?? .null
        if let rows = expected["rows"]?.elements {
            return difference(found.elements ?? [], rows, others: expected["extra"]?.string, at: pointer)
        }
        let isSame: Bool
        if let number = expected["number"]?.string {
            let numbers = [found.string ?? "", number].map { try? FixedDecimal(parsing: $0) }
            isSame = numbers[0] != nil && numbers[0] == numbers[1]
        } else if let members = expected["set"]?.elements {
            isSame = found.elements?.map(\.text).sorted() == members.map(\.text).sorted()
        } else {
            isSame = found.sorted == expected.sorted
        }
        return isSame ? nil : "\(pointer) is \(found.text), not \(expected.text)"
    }

    /// - Parameter others: of elements that no row fits: `none` are there, or nothing is used or held in them (`zero`);
    ///   nil for any.
    private static func difference(
        _ found: [JSONValue],
        _ rows: [JSONValue],
        others: String?,
        at pointer: String
    ) -> String? {
        var rest = found
        for row in rows {
            let fits: (JSONValue) -> Bool = { difference($0, row["match"]?.members ?? [], at: pointer) == nil }
            let fitting = found.filter(fits)
            guard !fitting.isEmpty else { return "\(pointer) has none of \(row.text)" }
            for element in fitting {
                if let difference = difference(element, row["expect"]?.members ?? [], at: pointer) {
                    return "\(difference) where \(row["match"]?.text ?? "")"
                }
            }
            rest.removeAll(where: fits)
        }
        switch others {
        case "none": return rest.first.map { "\(pointer) has \($0.text), too" }
        case "zero":
            let zero = JSONValue.members(["number": .string("0")])
            let nothing = ["/used", "/held", "/overshoot"].map { JSONMember(name: $0, value: zero) }
            return rest.lazy.compactMap { difference($0, nothing, at: pointer) }.first
        default: return nil
        }
    }

    private static func difference(_ found: JSONValue, _ members: [JSONMember], at pointer: String) -> String? {
        members.lazy.compactMap { difference(found.at($0.name), $0.value, at: pointer + $0.name) }.first
    }
}

extension JSONValue {
    fileprivate var members: [JSONMember] { if case .object(let members) = self { members } else { [] } }

    /// What a JSON pointer without escapes leads to.
    fileprivate func at(_ pointer: String) -> JSONValue? {
        pointer.split(separator: "/").reduce(Optional(self)) { value, part in
            Int(part).flatMap { value?[$0] } ?? value?[String(part)]
        }
    }

    /// The same with members by their names.
    fileprivate var sorted: JSONValue {
        switch self {
        case .object(let members):
            .object(members.map { JSONMember(name: $0.name, value: $0.value.sorted) }.sorted { $0.name < $1.name })
        case .array(let elements): .array(elements.map(\.sorted))
        default: self
        }
    }
}
