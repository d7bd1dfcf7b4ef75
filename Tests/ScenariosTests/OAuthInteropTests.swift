import BillingCore
import Foundation
import Postgres
import TestSupport
import Testing
import Web

@testable import Identity

/// Tokens in the hands of libraries that share no code with us: Authlib gets them, PyJWT verifies them.
@Suite(.enabled(if: TestTools.isCI || TestTools.installed("python") != nil, "the virtual environment is not there"))
struct OAuthInteropTests {
    @Test(
        "Authlib gets tokens by every method and PyJWT verifies them by the JWKS, before and after the key has changed",
        .timeLimit(.minutes(15))
    )
    func foreignLibrariesAgree() async throws {
        let python = try #require(TestTools.installed("python"), "run scripts/test: it makes the environment")
        let script = TestTools.packageRoot.appendingPathComponent("Tests/ScenariosTests/oauth/interoperate.py")
        // The libraries judge times by the machine's clock.
        try await TestServer.run(clock: TestClock(Clock.system.now().description)) { server in
            let apiKey = try await server.makeKey([.identityWrite, .auditRead])
            try await withTemporaryDirectory { directory in
                try await withChildProcess(
                    python,
                    arguments: [script.path, "http://127.0.0.1:\(server.port)", TestServer.issuer, apiKey],
                    environment: ["PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"],
                    directory: directory
                ) { child in
                    let isReady = try await eventually(within: .seconds(90)) {
                        server.clock.set(Clock.system.now())
                        let output = await child.output()
                        return output.contains("READY") || output.contains("Error")
                    }
                    let beginning = await child.outputTail()
                    #expect(isReady, "\(beginning)")
                    try await Self.changeKey(server)
                    let code = try await child.exitCode(within: .seconds(90))
                    let output = await child.outputTail()
                    #expect(code == 0, "\(output)")
                    #expect(output.contains("ES256 then RS256"), "\(output)")
                }
            }
        }
    }

    /// As a rotation whose lead has passed leaves the keys: both published, the new one signs.
    private static func changeKey(_ server: TestServer) async throws {
        let masterKey = try #require(MasterKey(parsing: TestServer.masterKey))
        let now = Clock.system.now()
        server.clock.set(now)
        let next = try SigningKey.generate(.rs256, createdAt: now, signsFrom: now, masterKey: masterKey)
        let pool = PostgresPool(PostgresConfiguration(url: server.database.url), logger: .silent)
        try await pool.transaction(.worker) { SigningKeyStore.insert(next, in: $0) }
        await pool.close()
    }
}
