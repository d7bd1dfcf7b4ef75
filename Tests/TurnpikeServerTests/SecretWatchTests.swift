import Logging
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// That the watch over secrets in logs, which every test of a server is under, would see one.
@Suite struct SecretWatchTests {
    @Test func aServerWhoseLogBearsAKeyFailsItsTest() async throws {
        let shown = await #expect(throws: SecretWatch.SecretShown.self) {
            try await TestServer.run { server in
                let key = try await server.makeKey([.tenantsRead])
                server.log.logger(level: .info).info("presented", metadata: ["text": "Bearer \(key)"])
            }
        }
        #expect(shown?.lines.count == 1)
        #expect(shown?.description.contains("presented") == true)
    }

    @Test func anAuditRowThatBearsASecretFailsItsTest() async throws {
        await #expect(throws: SecretWatch.SecretShown.self) {
            try await TestServer.run { server in
                let key = try await server.makeKey([.tenantsRead])
                try await server.database.run(
                    "UPDATE audit_log SET after = jsonb_build_object('x', '\(key)') WHERE resource_type = 'api_key'"
                )
            }
        }
    }

    @Test(arguments: [
        "tpk_abcdefgh_0123456789abcdef0123456789abcdef",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2lnbmF0dXJl",
    ])
    func aSecretIsFoundWhateverStandsAroundIt(_ secret: String) {
        let watch = SecretWatch()
        watch.register(secret)
        for line in ["a \(secret) b", "{\"x\":\"\(secret)\"}", "Authorization:Bearer%20\(secret)&y=1"] {
            #expect(throws: SecretWatch.SecretShown.self) { try watch.inspect("fine\n\(line)", place: "a log") }
        }
        #expect(throws: Never.self) { try watch.inspect("tpk_abcdefgh eyJhbGciOiJFUzI1NiJ9", place: "a log") }
    }

    @Test func secretsInBodiesAreRegistered() {
        let bodies = [
            #"{"id": "a", "key": "tpk_abcdefgh_0123456789abcdef0123456789abcdef"}"#,
            #"{"client_secret": "0123456789abcdef0123456789abcdef", "id": "b"}"#,
            #"{"access_token":"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.0123456789abcdef0123456789abcdef"}"#,
        ]
        for body in bodies {
            let watch = SecretWatch()
            watch.register(secretsIn: body)
            #expect(throws: SecretWatch.SecretShown.self, "\(body)") {
                try watch.inspect("x 0123456789abcdef0123456789abcdef", place: "a log")
            }
        }
    }

    @Test func thePasswordOfTheDatabaseIsInNoError() async throws {
        let secret = "hunter2hunter2hunter2"
        let port = try TestTools.freePort()
        let url = "postgres://turnpike:\(secret)@127.0.0.1:\(port)/turnpike?connect_timeout=2"
        let log = TestLog()
        let configuration = try Configuration(environment: ["DATABASE_URL": url])
        await #expect { try await Migrations.migrate(configuration, logger: log.logger(level: .trace)) } throws: {
            error in
            !"\(error) \(String(reflecting: error))".contains(secret)
        }
        await #expect {
            try await Server.build(configuration, logger: log.logger(level: .trace)).run()
        } throws: { error in
            !"\(error) \(String(reflecting: error))".contains(secret)
        }
        #expect(!log.text.contains(secret))
    }
}
