import Foundation
import Postgres
import TestSupport
import Testing

/// `turnpike serve`, as somebody runs it.
@Suite(.timeLimit(.minutes(15))) struct ServeCommandTests {
    @Test("who starts it at a port that is taken is told which, and how to choose another")
    func portInUse() async throws {
        try await TestServer.run { server in
            let binary = try #require(TestTools.turnpikeBinary)
            try await withChildProcess(
                binary,
                arguments: ["serve", "--port", String(server.port), "--migrate", "false"],
                environment: ["PATH": "/usr/bin:/bin", "DATABASE_URL": server.database.url],
                directory: FileManager.default.temporaryDirectory
            ) { child in
                let code = try await child.exitCode(within: .seconds(60))
                #expect(code == 1)
                let output = await child.output()
                #expect(output.contains("127.0.0.1:\(server.port) is taken by another program"), "\(output)")
                #expect(output.contains("TURNPIKE_PORT"), "\(output)")
            }
        }
    }

    @Test(
        "what can't be served is said with the setting that mends it",
        arguments: [
            (["--migrate", "false", "--host", "192.0.2.1"], true, "TURNPIKE_HOST"),
            (["--migrate", "false", "--host", "nonsense.invalid"], true, "TURNPIKE_HOST"),
            (["--migrate", "false", "--operator-key", TurnpikeProcess.operatorKey], false, "turnpike migrate"),
        ]
    )
    func unusableSettings(options: [String], isMigrated: Bool, expected: String) async throws {
        let binary = try #require(TestTools.turnpikeBinary)
        try await TestDatabase.with { database in
            if !isMigrated { try await database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public") }
            try await withChildProcess(
                binary,
                arguments: ["serve", "--port", "0"] + options,
                environment: ["PATH": "/usr/bin:/bin", "DATABASE_URL": database.url],
                directory: FileManager.default.temporaryDirectory
            ) { child in
                let code = try await child.exitCode(within: .seconds(60))
                #expect(code == 1)
                let output = await child.output()
                #expect(output.contains(expected), "\(output)")
            }
        }
    }

    @Test("while it migrates SIGHUP does nothing and SIGTERM ends it well")
    func signalsWhileMigrating() async throws {
        let binary = try #require(TestTools.turnpikeBinary)
        try await TestServer.run { server in
            // The lock of migrators.
            try await server.whileLocked(by: "SELECT pg_advisory_xact_lock(8391171884412367717)") {
                try await withChildProcess(
                    binary,
                    arguments: ["serve", "--port", "0"],
                    environment: ["PATH": "/usr/bin:/bin", "DATABASE_URL": server.database.url],
                    directory: FileManager.default.temporaryDirectory
                ) { child in
                    let waits = try await eventually { try await !server.column(Self.waitingMigrators).isEmpty }
                    #expect(waits)
                    kill(child.processID, SIGHUP)
                    let isTold = try await eventually { await child.output().contains("nothing to read again") }
                    #expect(isTold)
                    kill(child.processID, SIGTERM)
                    let code = try await child.exitCode(within: .seconds(60))
                    let output = await child.output()
                    #expect(code == 0, "\(output)")
                    #expect(output.contains("told to end while migrating"), "\(output)")
                }
            }
        }
    }

    private static let waitingMigrators: SQL = """
        SELECT '' FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """

    @Test("a service without a TLS certificate goes on after SIGHUP")
    func hangUp() async throws {
        try await TurnpikeProcess.run { turnpike in
            kill(turnpike.child.processID, SIGHUP)
            let isTold = try await eventually { await turnpike.child.output().contains("nothing to read again") }
            #expect(isTold)
            let answer = try await turnpike.anonymous.get("/healthz")
            #expect(answer.status == 200)
        }
    }
}
