import Foundation
import TestSupport
import Testing
import Web

/// `turnpike token`, as somebody runs it.
@Suite(.timeLimit(.minutes(15))) struct TokenCommandTests {
    @Test func itPrintsATokenThatWorksAndHasTheScopesThatWereAskedFor() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.tenantsRead, .auditRead])
            let given = try await token(server, client, ["--scope", "tenants:read"], secret: client.secret)
            #expect(given.code == 0, "\(given.output)")
            let caller = server.anonymous.with(key: given.output.trimmingCharacters(in: .whitespacesAndNewlines))
            #expect(try await caller.get("/api/v1/tenants").status == 200)
            #expect(try await caller.get("/api/v1/audit-log").status == 403)

            let piped = try await token(server, client, piped: client.secret + "\n")
            #expect(piped.code == 0, "\(piped.output)")
            let all = server.anonymous.with(key: piped.output.trimmingCharacters(in: .whitespacesAndNewlines))
            #expect(try await all.get("/api/v1/audit-log").status == 200)

            let posting = try await server.makeOAuthClient(
                [.auditRead],
                #", "token_endpoint_auth_method": "client_secret_post""#
            )
            let posted = try await token(server, posting, ["--method", "client_secret_post"], secret: posting.secret)
            #expect(posted.code == 0, "\(posted.output)")
        }
    }

    @Test func itSaysWhyThereIsNoneAndNeverTheSecret() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let wrong = try await token(server, client, secret: client.secret + "x")
            #expect(wrong.code == 1 && wrong.output.contains("invalid_client"), "\(wrong.output)")
            #expect(!wrong.output.contains(client.secret))
            let beyond = try await token(server, client, ["--scope", "tenants:write"], secret: client.secret)
            #expect(beyond.code == 1 && beyond.output.contains("invalid_scope"), "\(beyond.output)")
            let none = try await token(server, client)
            #expect(none.code == 2 && none.output.contains("TURNPIKE_CLIENT_SECRET"), "\(none.output)")
            let nowhere = try await token(server, client, secret: client.secret, url: "http://127.0.0.1:1")
            #expect(nowhere.code == 2, "\(nowhere.output)")
            let odd = try await token(server, client, secret: client.secret, url: "turnpike.example.com")
            #expect(odd.code != 0 && odd.output.contains("--url"), "\(odd.output)")
            let help = try await token(server, client, ["--help"])
            #expect(help.code == 0 && help.output.contains("TURNPIKE_CLIENT_SECRET"), "\(help.output)")
        }
    }

    /// - Parameters:
    ///   - secret: for the environment.
    ///   - piped: for standard input.
    private func token(
        _ server: TestServer,
        _ client: TestOAuthClient,
        _ arguments: [String] = [],
        secret: String? = nil,
        piped: String? = nil,
        url: String? = nil
    ) async throws -> (code: Int32, output: String) {
        let binary = try #require(TestTools.turnpikeBinary)
        return try await withTemporaryDirectory { directory in
            try Data((piped ?? "").utf8).write(to: directory.appendingPathComponent("input"))
            var environment = ["PATH": "/usr/bin:/bin"]
            environment["TURNPIKE_CLIENT_SECRET"] = secret
            let words = ["--url", url ?? "http://127.0.0.1:\(server.port)/", "--client-id", client.id] + arguments
            return try await withChildProcess(
                URL(fileURLWithPath: "/bin/sh"),
                arguments: ["-c", #"exec "$0" token "$@" < input"#, binary.path] + words,
                environment: environment,
                directory: directory
            ) { child in
                (try await child.exitCode(within: .seconds(60)), await child.output())
            }
        }
    }
}
