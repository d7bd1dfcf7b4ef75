import TestSupport
import Testing
import Web

/// What one tenant has of the connections to PostgreSQL that all share.
@Suite(.timeLimit(.minutes(5))) struct TenantShareTests {
    /// Eighty of a tenant at once, which all wait for a table: some are refused, because there is a share of places.
    private static func expectShare(of request: String, whileLocked table: String, _ server: TestServer) async throws {
        let connections = try (1...80).map { _ in try RawConnection(port: server.port) }
        try await server.whileLocked(table) {
            for connection in connections { try connection.send(request) }
            #expect(try await eventually { server.log.lines.contains { $0.contains("database_unavailable") } })
        }
        var refused = 0
        for connection in connections {
            let answer = await connection.answer(until: "}")
            if answer.contains("65 requests of this tenant are under way") { refused += 1 }
        }
        #expect(refused > 0)
    }

    @Test(
        "of requests that wait for the database a quarter of the lane is served of one tenant, the others are refused"
    )
    func interactive() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let key = try await server.makeKey([.budgetsRead], tenant: "acme")
            #expect(try await server.anonymous.with(key: key).get("/api/v1/budgets").status == 200)
            let request = "GET /api/v1/budgets HTTP/1.1\r\nHost: test\r\nX-Api-Key: \(key)\r\n\r\n"
            try await Self.expectShare(of: request, whileLocked: "budget", server)
        }
    }

    @Test("tokens that are asked for by a tenant's clients take places of the tenant")
    func tokens() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let client = try await server.makeOAuthClient([.budgetsRead], tenant: "acme")
            _ = try await server.token(of: client)
            let body = "grant_type=client_credentials"
            let request =
                "POST /oauth/token HTTP/1.1\r\nHost: test\r\nAuthorization: \(client.basic)\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
            // What is issued is audited.
            try await server.letCommitsWait(afterInsertsInto: "audit_log")
            try await Self.expectShare(of: request, whileLocked: "slow_commit", server)
        }
    }
}
