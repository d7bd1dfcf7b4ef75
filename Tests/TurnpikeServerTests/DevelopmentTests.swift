import Foundation
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// `turnpike dev` as it is run.
@Suite struct DevelopmentTests {
    @Test(.timeLimit(.minutes(15)))
    func theDemoSurvivesStoppingAndKilling() async throws {
        try await withTemporaryDirectory { directory in
            let cluster = try LocalCluster(directory: directory.appendingPathComponent("dev/postgres").path)
            defer { try? cluster.stop() }
            let masterKey = directory.appendingPathComponent("dev/master-key")
            let first = try await dev(directory) { child, variables in
                let url = try #require(variables["BASE_URL"]?.trimmingCharacters(in: CharacterSet(charactersIn: "'")))
                let port = try #require(URLComponents(string: url)?.port)
                let metadata = try await TestClient(port: port, key: nil).get("/.well-known/oauth-authorization-server")
                #expect(metadata.json["issuer"]?.string == url)
                await child.stop()
                #expect(await child.exitCode == 0)
                return variables
            }
            #expect(cluster.postmaster == nil)
            let made = try Data(contentsOf: masterKey)
            let permissions = try FileManager.default.attributesOfItem(atPath: masterKey.path)[.posixPermissions]
            #expect(permissions as? Int == 0o600)

            let second = try await dev(directory) { child, variables in
                let rival = try await self.start(directory) { rival in
                    (try await rival.exitCode(within: .seconds(30)), await rival.output())
                }
                #expect(rival.0 == 1)
                #expect(rival.1.contains("another 'turnpike dev' is running"))
                await child.crash()
                _ = try await child.exitCode(within: .seconds(10))
                return variables
            }
            #expect(cluster.postmaster != nil)

            let third = try await dev(directory) { _, variables in variables }
            #expect(cluster.postmaster == nil)
            #expect(try Data(contentsOf: masterKey) == made)
            for key in ["OPERATOR_KEY", "GATEWAY_KEY", "PORTAL_KEY"] {
                #expect(first[key] != nil)
                #expect(first[key] == second[key])
                #expect(first[key] == third[key])
            }

            try cluster.start()
            let edit = "UPDATE schema_migration SET checksum = 'other' WHERE name = '0007_storage'"
            try await PostgresDatabase.run(edit, at: cluster.url)
            let refused = try await start(directory) { child in
                (try await child.exitCode(within: .seconds(60)), await child.output())
            }
            #expect(refused.0 == 1)
            #expect(refused.1.contains("0007_storage was edited"), "\(refused.1)")
            #expect(refused.1.contains("Remove \(directory.path)/dev to begin anew."), "\(refused.1)")
        }
    }

    /// Runs it until it has said how to try it, and the three calls answer as printed.
    private func dev<Result: Sendable>(
        _ directory: URL,
        _ body: (ChildProcess, [String: String]) async throws -> Result
    ) async throws -> Result {
        try await start(directory) { child in
            try await child.waitUntilReady(within: .seconds(60)) { await child.output().contains("Ctrl-C ends it.") }
            let calls = await child.output().split(separator: "\n").filter { $0.hasPrefix("curl ") }
            #expect(calls.count == 3)
            for call in calls {
                let command = String(call).replacing("curl -sS", with: "curl -sS --fail")
                let code = try await withChildProcess(
                    URL(fileURLWithPath: "/bin/sh"),
                    arguments: ["-c", command],
                    environment: ["PATH": "/usr/bin:/bin"],
                    directory: directory
                ) { try await $0.exitCode(within: .seconds(30)) }
                #expect(code == 0, "\(command)")
            }
            let file = try String(contentsOf: directory.appendingPathComponent("dev/keys"), encoding: .utf8)
            let pairs = file.split(separator: "\n").filter { $0.hasPrefix("export ") }.map {
                $0.dropFirst("export ".count).split(separator: "=", maxSplits: 1).map(String.init)
            }
            return try await body(child, Dictionary(pairs.map { ($0[0], $0[1]) }) { first, _ in first })
        }
    }

    private func start<Result: Sendable>(
        _ directory: URL,
        _ body: (ChildProcess) async throws -> Result
    ) async throws -> Result {
        let binary = try #require(TestTools.turnpikeBinary)
        return try await withChildProcess(
            binary,
            arguments: ["dev", "--port", "0", "--directory", "dev"],
            // The demo can be made with none of them.
            environment: [
                "PATH": "/usr/bin:/bin", "TURNPIKE_BATCH_EVENTS": "20", "TURNPIKE_TLS_CERT": "/nowhere/cert.pem",
                "TURNPIKE_EVENT_MAX_AGE_DAYS": "1", "TURNPIKE_BODY_BYTES": "1024",
            ],
            directory: directory,
            body
        )
    }
}
