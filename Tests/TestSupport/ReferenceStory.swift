import BillingCore
import Foundation
import Testing
import Web

/// A story that a reference in Python tells: requests with what they must answer, and the passing of time between them.
package struct ReferenceStory {
    struct Differs: Error, CustomStringConvertible {
        let description: String
    }

    private let seed: Int
    private let steps: [JSONValue]

    /// Those that `TURNPIKE_TEST_STORIES` names, as `161-260`, or else the first few.
    package static func seeds(orElse few: ClosedRange<Int>) -> ClosedRange<Int> {
        guard let text = ProcessInfo.processInfo.environment["TURNPIKE_TEST_STORIES"] else { return few }
        let bounds = text.split(separator: "-").compactMap { Int($0) }
        precondition(bounds.count == 2 && bounds[0] <= bounds[1], "TURNPIKE_TEST_STORIES is to be as 161-260")
        return bounds[0]...bounds[1]
    }

    /// - Parameter folder: of `reference.py`, from the package's root.
    package init(of folder: String, seed: Int) async throws {
        let python = try #require(TestTools.installed("python"), "run scripts/test: it makes the environment")
        let script = TestTools.packageRoot.appendingPathComponent("\(folder)/reference.py")
        let text = try await TestTools.run(
            python.path,
            ["-B", script.path, String(seed)],
            in: script.deletingLastPathComponent()
        )
        self.seed = seed
        steps = try text.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    }

    /// - Parameter settle: waits, when time has passed, until whatever that brings has happened.
    /// - Throws: `Differs` at the first answer that is not the reference's: what follows it says nothing more.
    package func play(_ server: TestServer, settle: () async throws -> Void) async throws {
        #expect(!steps.isEmpty)
        var saved: [String: String] = [:]
        for (index, step) in steps.enumerated() {
            do {
                if let seconds = try step["advance"].map({ try #require(Int64($0.text)) }) {
                    server.clock.advance(seconds: seconds)
                    try await settle()
                } else {
                    try await Self.ask(server, step, &saved)
                }
            } catch {
                throw Differs(description: "\(error)\nseed \(seed), step \(index): \(step.text)")
            }
        }
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
            let found = try #require(Self.value(name.value, of: answer.json), "nothing to save as \(name.name)")
            saved[name.name] = found.string ?? found.text
        }
        if method != "GET" { try await follow(path, server) }
    }

    /// Waits until rows of limits and open calls follow what was changed.
    private static func follow(_ path: String, _ server: TestServer) async throws {
        if path.hasPrefix("/budgets") { try await server.rowsFollowBudgets() }
        if path.hasPrefix("/subscriptions") || path.hasPrefix("/price-book") { try await server.holdsFollow() }
    }

    /// What a pointer leads to, or `get` of the first element of the array `in` that fits the `match`.
    private static func value(_ place: JSONValue, of answer: JSONValue) -> JSONValue? {
        if let pointer = place.string { return answer.at(pointer) }
        guard let array = place["in"]?.string, let pointer = place["get"]?.string else { return nil }
        return answer.at(array)?.elements?.first { Expectation.fits($0, place["match"]) }?.at(pointer)
    }

    /// The text with what was saved in place of `${name}`, and of `"${name:bare}"` with its quotes.
    private static func filled(_ text: String, _ saved: [String: String]) -> String {
        guard text.contains("${") else { return text }
        return saved.reduce(text) {
            $0.replacing("\"${\($1.key):bare}\"", with: $1.value).replacing("${\($1.key)}", with: $1.value)
        }
    }
}

/// What the reference expects of an answer: a value as it stands, `{"number": …}` by value, `{"set": […]}` in any
/// order, or `{"rows": […]}`, of which each `match` is there, and is as it says wherever it is.
private enum Expectation {
    /// What is other than expected, if anything.
    static func difference(_ found: JSONValue?, _ expected: JSONValue, at pointer: String) -> String? {
        guard let found else { return "\(pointer) is not there, and not \(expected.text)" }
        if let rows = expected["rows"]?.elements {
            guard let elements = found.elements else { return "\(pointer) is \(found.text), and no array" }
            return difference(elements, rows, others: expected["extra"]?.string, at: pointer)
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

    static func fits(_ element: JSONValue, _ match: JSONValue?) -> Bool {
        difference(element, match?.members ?? [], at: "") == nil
    }

    /// - Parameter others: of elements that no row fits: `none` are there, nothing is used or held in them (`zero`), or
    ///   they come to nothing (`zero_amount`); nil for any.
    private static func difference(
        _ found: [JSONValue],
        _ rows: [JSONValue],
        others: String?,
        at pointer: String
    ) -> String? {
        var rest = found
        for row in rows {
            let fitting = found.filter { fits($0, row["match"]) }
            guard !fitting.isEmpty else { return "\(pointer) has none of \(row.text), but \(found.map(\.text))" }
            for element in fitting {
                if let difference = difference(element, row["expect"]?.members ?? [], at: pointer) {
                    return "\(difference) where \(row["match"]?.text ?? "")"
                }
            }
            rest.removeAll { fits($0, row["match"]) }
        }
        let zeros: [String]
        switch others {
        case "none": return rest.first.map { "\(pointer) has \($0.text), too" }
        case "zero": zeros = ["/used", "/held", "/overshoot"]
        case "zero_amount": zeros = ["/amount"]
        default: return nil
        }
        let nothing = zeros.map { JSONMember(name: $0, value: .members(["number": .string("0")])) }
        return rest.lazy.compactMap { difference($0, nothing, at: pointer) }.first
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
