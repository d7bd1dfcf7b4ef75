import Foundation
import TestSupport
import Testing
import Web

/// The running service, held to the document from outside.
@Suite(.timeLimit(.minutes(25)))
struct RunningServiceTests {
    @Test("the service has the operations of the document and no others, under the same scopes")
    func operationsAreThoseOfTheDocument() async throws {
        let documented = Set(try ContractDocument().operations())
        try await TestServer.run { server in
            let registered = Set(server.operations.map(ContractDocument.Operation.init))
            #expect(registered.subtracting(documented) == [], "not in the document")
            #expect(documented.subtracting(registered) == [], "not in the service")
        }
    }

    @Test("a credential without the scopes of an operation is refused, and told which they are")
    func scopesAreEnforced() async throws {
        let operations = try ContractDocument().operations()
        try await TestServer.run { server in
            let outsider = try await server.client([.reportsRead])
            for operation in operations {
                let path = Self.examplePath(operation.path)
                let anonymous = try await server.anonymous.send(operation.method, path, body: nil)
                if operation.isOpen {
                    // What is posted openly authenticates in a way of its own, and misses that here.
                    #expect(anonymous.status == (operation.method == "GET" ? 200 : 401), "\(operation): \(anonymous)")
                    continue
                }
                #expect(anonymous.status == 401, "\(operation): \(anonymous)")
                let refused = try await outsider.send(operation.method, path, body: nil)
                #expect(refused.status == 403, "\(operation): \(refused)")
                let challenge = refused.header("WWW-Authenticate") ?? ""
                #expect(Self.scopes(inChallenge: challenge) == operation.scopes, "\(operation): \(challenge)")
            }
        }
    }

    @Test("the service hands out the document it was built with")
    func documentIsServed() async throws {
        let file = try Data(contentsOf: ContractDocument.file)
        try await TestServer.run { server in
            let served = try await server.anonymous.get("/openapi.yaml")
            let isTheSame = served.body == Array(file)
            #expect(isTheSame, "\(served.body.count) bytes are served, the file has \(file.count)")
        }
    }

    @Test(
        "the service keeps to the document whatever is sent to it",
        .enabled(if: TestTools.isCI || TestTools.installed("schemathesis") != nil, "schemathesis is not installed"),
        arguments: SchemathesisRun.allCases
    )
    func survivesSchemathesis(run: SchemathesisRun) async throws {
        let program = try #require(TestTools.installed("schemathesis"), "run scripts/test: it installs schemathesis")
        // Schemathesis shows bad credentials by the hundred, and each is to be refused for itself.
        let settings = [
            "TURNPIKE_AUTH_FAILURES_PER_ADDRESS": "0", "TURNPIKE_AUTH_FAILURES_PER_CREDENTIAL": "0",
        ]
        try await TurnpikeProcess.run(settings: settings) { turnpike in
            try await DemoCatalogue.make(turnpike.operatorClient)
            try await withTemporaryDirectory { directory in
                try await withChildProcess(
                    program,
                    arguments: Self.schemathesisArguments(turnpike) + run.arguments,
                    environment: ["PATH": "/usr/bin:/bin", "HOME": directory.path, "PYTHONDONTWRITEBYTECODE": "1"],
                    directory: directory
                ) { child in
                    let code = try await child.exitCode(within: .seconds(1_200))
                    let output = await child.outputTail(lines: 400)
                    #expect(code == 0, "\(output)")
                }
            }
        }
    }

    /// Schemathesis keeps one processor busy for minutes: in parts of about the same length, each beside a service of
    /// its own, it takes no longer than the other tests where the machine is slow.
    enum SchemathesisRun: CaseIterable {
        case coverageOfReads, coverageOfWrites, randomised

        var arguments: [String] {
            switch self {
            case .coverageOfReads: ["--phases", "coverage", "--include-method", "GET"]
            case .coverageOfWrites: ["--phases", "coverage", "--exclude-method", "GET"]
            case .randomised: ["--phases", "examples,fuzzing,stateful"]
            }
        }
    }

    private static func schemathesisArguments(_ turnpike: TurnpikeProcess) -> [String] {
        [
            "--config-file",
            TestTools.packageRoot.appendingPathComponent("Tests/ContractTests/schemathesis.toml").path,
            "run", ContractDocument.file.path,
            "--url", turnpike.baseURL,
            "--header", "Authorization: Bearer \(TurnpikeProcess.operatorKey)",
            "--checks", "all",
            "--max-examples", "30",
            "--seed", "20261123",
            "--no-color",
        ]
    }

    @Test("a query parameter that an operation does not have is refused, whatever the operation")
    func unknownParameters() async throws {
        let operations = try ContractDocument().operations().filter { !$0.isOpen }
        try await TestServer.run { server in
            try await server.addTenant("acme")
            for operation in operations {
                let path = Self.examplePath(operation.path) + "?no_such_parameter=1"
                let body = operation.method == "PATCH" ? Array("{}".utf8) : nil
                let answer = try await server.operatorClient.send(operation.method, path, body: body)
                #expect(answer.status == 400, "\(operation): \(answer)")
                #expect(answer.pointers.contains("?no_such_parameter"), "\(operation): \(answer)")
            }
            let list = try await server.ask("GET", "/webhook-endpoints")
            #expect(list["data"]?.elements?.isEmpty == true)
        }
    }

    static func examplePath(_ template: String) -> String {
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

extension ContractDocument.Operation {
    init(_ operation: Web.Operation) {
        let scopes: ScopeSet =
            switch operation.access {
            case .open: []
            case .anyOf(let scopes): scopes
            }
        self.init(
            method: "\(operation.method)",
            path: operation.path,
            id: operation.id,
            scopes: Set(scopes.names)
        )
    }
}
