import Foundation
import TestSupport
import Testing

/// The running service, held to the document from outside.
@Suite(.timeLimit(.minutes(15)))
struct RunningServiceTests {
    @Test("the service has the operations of the document, and asks for the same scopes")
    func operationsAreServed() async throws {
        let operations = try ContractDocument().operations()
        try await TurnpikeProcess.run { turnpike in
            let outsider = try await Self.key(scopes: ["reports:read"], turnpike)
            let nobody = HTTPCaller(baseURL: turnpike.baseURL)
            let caller = nobody.with(bearer: outsider)
            for operation in operations {
                let path = Self.examplePath(operation.path)
                let anonymous = try await nobody.call(operation.method, path)
                if operation.isOpen {
                    #expect(anonymous.status == 200, "\(operation): \(anonymous)")
                    continue
                }
                #expect(anonymous.status == 401, "\(operation): \(anonymous)")
                let refused = try await caller.call(operation.method, path)
                #expect(refused.status == 403, "\(operation): \(refused)")
                let challenge = refused.headers["www-authenticate"] ?? ""
                #expect(Self.scopes(inChallenge: challenge) == operation.scopes, "\(operation): \(challenge)")
            }
        }
    }

    @Test("a path answers to the methods of the document and to no others")
    func otherMethodsAreRefused() async throws {
        let methods = Dictionary(grouping: try ContractDocument().operations(), by: \.path)
            .mapValues { Set($0.map(\.method)) }
        try await TurnpikeProcess.run { turnpike in
            let caller = turnpike.asOperator
            for (path, documented) in methods.sorted(by: { $0.key < $1.key }) {
                let answer = try await caller.call("PROPFIND", Self.examplePath(path))
                #expect(answer.status == 405, "\(path): \(answer)")
                let allowed = Set(
                    (answer.headers["allow"] ?? "").split(separator: ",")
                        .map { $0.trimmingCharacters(in: .whitespaces) }
                )
                #expect(allowed.subtracting(["HEAD", "OPTIONS"]) == documented, "\(path)")
            }
        }
    }

    @Test("the service hands out the document it was built with")
    func documentIsServed() async throws {
        let file = try Data(contentsOf: ContractDocument.file)
        try await TurnpikeProcess.run { turnpike in
            let served = try await HTTPCaller(baseURL: turnpike.baseURL).get("/openapi.yaml")
            #expect(served.body == file)
        }
    }

    @Test(
        "the service keeps to the document whatever is sent to it",
        .enabled(if: TestTools.isCI || TestTools.installed("schemathesis") != nil, "schemathesis is not installed")
    )
    func survivesSchemathesis() async throws {
        let program = try #require(TestTools.installed("schemathesis"), "run scripts/test: it installs schemathesis")
        try await TurnpikeProcess.run { turnpike in
            try await DemoCatalogue.make(turnpike.asOperator)
            try await withTemporaryDirectory { directory in
                try await withChildProcess(
                    program,
                    arguments: Self.schemathesisArguments(turnpike),
                    environment: ["PATH": "/usr/bin:/bin", "HOME": directory.path, "PYTHONDONTWRITEBYTECODE": "1"],
                    directory: directory
                ) { child in
                    let code = try await child.exitCode(within: .seconds(600))
                    let output = await child.outputTail(lines: 400)
                    #expect(code == 0, "\(output)")
                }
            }
        }
    }

    private static func schemathesisArguments(_ turnpike: TurnpikeProcess) -> [String] {
        [
            "--config-file",
            TestTools.packageRoot.appendingPathComponent("Tests/ContractTests/schemathesis.toml").path,
            "run", ContractDocument.file.path,
            "--url", turnpike.baseURL.absoluteString,
            "--header", "Authorization: Bearer \(TurnpikeProcess.operatorKey)",
            "--checks", "all",
            "--max-examples", "30",
            "--seed", "20261123",
            "--no-color",
        ]
    }

    private static func key(scopes: [String], _ turnpike: TurnpikeProcess) async throws -> String {
        struct Created: Decodable { let key: String }
        let names = scopes.map { "\"\($0)\"" }.joined(separator: ", ")
        let answer = try await turnpike.asOperator.post(
            "/api/v1/api-keys",
            json: "{\"name\": \"outsider\", \"scopes\": [\(names)]}",
            expecting: 201
        )
        return try answer.decoded(Created.self).key
    }

    private static func examplePath(_ template: String) -> String {
        template
            .replacingOccurrences(of: "{version}", with: "1")
            .replacingOccurrences(of: "{key}", with: "acme")
            .replacingOccurrences(of: "{feature}", with: "chat-tokens")
            .replacingOccurrences(of: "{id}", with: "0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f60")
    }

    /// The names in `scope="a b"` of a challenge (RFC 6750, section 3).
    private static func scopes(inChallenge challenge: String) -> Set<String> {
        guard let start = challenge.range(of: "scope=\""),
            let end = challenge.range(of: "\"", range: start.upperBound..<challenge.endIndex)
        else { return [] }
        return Set(challenge[start.upperBound..<end.lowerBound].split(separator: " ").map(String.init))
    }
}
