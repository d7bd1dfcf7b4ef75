import TestSupport
import Testing
import Web

/// What one tenant has of the connections to PostgreSQL that all share.
@Suite(.timeLimit(.minutes(5))) struct TenantShareTests {
    @Test(
        "of requests that wait for the database a quarter of the lane is served of one tenant, the others are refused"
    )
    func interactive() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let key = try await server.makeKey([.budgetsRead], tenant: "acme")
            #expect(try await server.anonymous.with(key: key).get("/api/v1/budgets").status == 200)
            let connections = try (1...80).map { _ in try RawConnection(port: server.port) }
            try await server.whileLocked("budget") {
                for connection in connections {
                    try connection.send("GET /api/v1/budgets HTTP/1.1\r\nHost: test\r\nX-Api-Key: \(key)\r\n\r\n")
                }
                #expect(try await eventually { server.log.lines.contains { $0.contains("database_unavailable") } })
            }
            var refused = 0
            for connection in connections {
                let answer = await connection.answer(until: "}")
                if answer.contains("65 requests of this tenant are under way") { refused += 1 }
            }
            #expect(refused > 0)
        }
    }

    @Test("tokens that are asked for by a tenant's clients take places of the tenant")
    func tokens() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let client = try await server.makeOAuthClient([.budgetsRead], tenant: "acme")
            _ = try await server.token(of: client)
            let connections = try (1...80).map { _ in try RawConnection(port: server.port) }
            let body = "grant_type=client_credentials"
            // What is issued is audited.
            try await server.letCommitsWait(afterInsertsInto: "audit_log")
            try await server.whileLocked("slow_commit") {
                for connection in connections {
                    try connection.send(
                        "POST /oauth/token HTTP/1.1\r\nHost: test\r\nAuthorization: \(client.basic)\r\n"
                            + "Content-Type: application/x-www-form-urlencoded\r\n"
                            + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
                    )
                }
                #expect(try await eventually { server.log.lines.contains { $0.contains("database_unavailable") } })
            }
            var refused = 0
            for connection in connections {
                let answer = await connection.answer(until: "}")
                if answer.contains("65 requests of this tenant are under way") { refused += 1 }
            }
            #expect(refused > 0)
        }
    }
}
