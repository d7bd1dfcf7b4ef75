import TestSupport
import Testing
import Web

@Suite struct AuditLogTests {
    @Test func aWriteLeavesARowThatSaysWhoAndWhat() async throws {
        try await TestServer.run { server in
            let made = try await server.operatorClient.post(
                "/api/v1/api-keys",
                #"{"name": "n", "scopes": ["events:write"]}"#,
                headers: ["X-Request-Id": "req-1"]
            )
            let id = try #require(made.json["id"]?.string)
            let log = try await server.operatorClient.get("/api/v1/audit-log?resource=api_key:\(id)")
            let row = try #require(log.json["data"]?[0])
            #expect(log.json["data"]?.elements?.count == 1)
            #expect(row["action"]?.string == "api_key.created")
            #expect(row["credential_id"]?.string == "key:operator")
            #expect(row["request_id"]?.string == "req-1")
            #expect(row["occurred_at"]?.string == "2026-11-23T08:00:00.000000Z")
            #expect(row["before"] == .null)
            #expect(row["after"]?["name"]?.string == "n")
            #expect(!log.text.contains("tpk_"))
        }
    }

    @Test func filtersNarrowTheLogAndPagesRunFromNewToOld() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            for _ in 0..<4 {
                server.clock.advance(seconds: 60)
                _ = try await server.makeKey([.auditRead])
            }
            let recent = try await owner.get("/api/v1/audit-log?from=2026-11-23T08:03:00Z&to=2026-11-23T08:04:00Z")
            #expect(recent.json["data"]?.elements?.count == 1)
            let first = try await owner.get("/api/v1/audit-log?limit=2")
            let times = first.json["data"]?.elements?.compactMap { $0["occurred_at"]?.string } ?? []
            #expect(times == times.sorted(by: >))
            #expect(times.first == "2026-11-23T08:04:00.000000Z")
            let cursor = try #require(first.json["next_cursor"]?.string)
            let second = try await owner.get("/api/v1/audit-log?limit=2&cursor=\(cursor)")
            #expect(second.json["data"]?[0]?["occurred_at"]?.string == "2026-11-23T08:02:00.000000Z")
        }
    }

    @Test func aTenantBoundReaderSeesItsOwnRowsOnly() async throws {
        try await TestServer.run { server in
            try await server.database.run(
                "INSERT INTO subject_directory VALUES ('acme', 1, true), ('globex', 2, true)"
            )
            _ = try await server.makeKey([.eventsWrite], tenant: "globex")
            let acme = try await server.client([.auditRead], tenant: "acme")
            let rows = try await acme.get("/api/v1/audit-log").json["data"]?.elements ?? []
            #expect(rows.compactMap { $0["tenant"]?.string } == ["acme"])
            #expect(try await acme.get("/api/v1/audit-log?tenant=globex").status == 404)
        }
    }
}
