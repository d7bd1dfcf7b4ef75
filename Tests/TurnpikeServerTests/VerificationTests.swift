import Foundation
import TestSupport
import Testing
import TurnpikeServer

/// `turnpike verify` as it is run: the built command, its streams and its exit codes.
@Suite struct VerificationTests {
    @Test func usageThatItsEventsBearOutIsClean() async throws {
        try await withUsage { server in
            let run = try await verify(server)
            #expect(run.code == 0)
            #expect(run.output.contains("no differences"))
            #expect(run.output.contains("2 tenants, 48 events"))
        }
    }

    @Test func aPlantedDifferenceIsToldInWordsAndFails() async throws {
        try await withUsage { server in
            try await server.database.run(
                """
                UPDATE usage_counter SET quantity = quantity + 1
                WHERE feature_id = (SELECT feature_id FROM feature WHERE key = 'requests')
                    AND tenant_id = (SELECT tenant_id FROM subject_directory WHERE subject = 'acme')
                """
            )
            let run = try await verify(server, ["--quiet"])
            #expect(run.code == 1)
            let lines = run.output.split(separator: "\n")
            #expect(
                lines.contains {
                    $0.hasPrefix("tenant acme: counter requests") && $0.hasSuffix("is 37, its events give 36")
                }
            )
            #expect(lines.allSatisfy { $0.hasPrefix("tenant acme: ") })

            #expect(try await verify(server, ["--tenant", "acme"]).code == 1)
            #expect(try await verify(server, ["--tenant", "globex"]).code == 0)
        }
    }

    @Test func theSummaryCountsWhatIsFoundLast() async throws {
        try await withUsage { server in
            let gift = #"{"kind":"promotional","name":"gift","amount":"7"}"#
            try await server.ask("POST", "/tenants/acme/credit-grants", gift, expecting: 201)
            try await server.database.run("UPDATE credit_grant SET remaining = remaining - 1 WHERE name = 'gift'")
            let run = try await verify(server)
            #expect(run.code == 1)
            #expect(run.output.contains("what is left of the credit gift"))
            #expect(run.output.contains("1 difference ("))
            #expect(!run.output.contains("no differences"))
        }
    }

    @Test func whatCannotBeComparedIsAFailureOfItsOwn() async throws {
        try await withUsage { server in
            let unknown = try await verify(server, ["--tenant", "nobody"])
            #expect(unknown.code == 2)
            #expect(unknown.output == "error: there is no tenant 'nobody'\n")

            try await server.database.run("DELETE FROM schema_migration WHERE name = '0007_storage'")
            let outdated = try await verify(server)
            #expect(outdated.code == 2)
            #expect(outdated.output.contains("turnpike migrate"))

            let nowhere = try await verify(server, ["--database-url", "postgresql://nobody@127.0.0.1:1/none"])
            #expect(nowhere.code == 2)
            #expect(nowhere.output.hasPrefix("error: connection"))
        }
    }

    private func withUsage(_ body: (TestServer) async throws -> Void) async throws {
        try await TestServer.run { server in
            try await withTemporaryDirectory { directory in
                let file = directory.appendingPathComponent("keys")
                try Data("OPERATOR_KEY=\(TestServer.operatorKey)\n".utf8).write(to: file)
                let keys = DemoKeys(file: file)
                let demo = Demo(host: "127.0.0.1", port: server.port, keys: keys, clock: server.clock.clock)
                _ = try await demo.prepare(keys)
            }
            try await body(server)
        }
    }

    private func verify(
        _ server: TestServer,
        _ arguments: [String] = []
    ) async throws -> (code: Int32, output: String) {
        let binary = try #require(TestTools.turnpikeBinary)
        return try await withTemporaryDirectory { directory in
            try await withChildProcess(
                binary,
                arguments: ["verify"] + arguments,
                environment: ["PATH": "/usr/bin:/bin", "DATABASE_URL": server.database.url],
                directory: directory
            ) { child in
                (try await child.exitCode(within: .seconds(30)), await child.output())
            }
        }
    }
}
