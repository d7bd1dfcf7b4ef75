import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Catalog

@Suite struct CatalogVersionTests {
    private static func versions(_ server: TestServer) async throws -> (catalog: Int64, tenant: Int64?) {
        let pool = PostgresPool(PostgresConfiguration(url: server.database.url), logger: .silent)
        let catalog = try await pool.query(.worker, CatalogVersion.current) { row throws(PostgresError) in
            try row.next(Int64.self)
        }
        let tenant = try await pool.query(.worker, "SELECT catalog_version FROM tenant_ledger ORDER BY tenant_id") {
            row throws(PostgresError) in try row.next(Int64.self)
        }
        await pool.close()
        return (catalog.first ?? 0, tenant.first)
    }

    @Test func everyChangeOfTheCatalogueRaisesItsVersion() async throws {
        try await TestServer.run { server in
            let changes: [(Int, String, String, String)] = [
                (201, "POST", "/meters", TestServer.meter),
                (200, "PATCH", "/meters/llm-tokens", #"{"name":"Tokens"}"#),
                (201, "POST", "/features", #"{"key":"tokens","meter":"llm-tokens"}"#),
                (200, "PATCH", "/features/tokens", #"{"name":"Tokens"}"#),
                (201, "POST", "/plans", #"{"key":"pro","name":"Pro","currency":"USD"}"#),
                (200, "PATCH", "/plans/pro", #"{"name":"Professional"}"#),
                (201, "POST", "/plans/pro/versions", "{}"),
                (200, "PUT", "/plans/pro/versions/1", "{}"),
                (200, "POST", "/plans/pro/versions/1/publish", ""),
                (201, "POST", "/plans/pro/versions", "{}"),
                (204, "DELETE", "/plans/pro/versions/2", ""),
                (204, "DELETE", "/features/tokens", ""),
                (204, "DELETE", "/meters/llm-tokens", ""),
            ]
            for (index, (status, method, path, body)) in changes.enumerated() {
                _ = try await server.expect(status, method, path, body)
                #expect(try await Self.versions(server).catalog == Int64(index + 2), "\(method) \(path)")
            }
            _ = try await server.expect(200, "POST", "/plans/pro/versions/1/publish")
            #expect(try await Self.versions(server).catalog == Int64(changes.count + 1))
            _ = try await server.expect(400, "POST", "/meters", "{}")
            _ = try await server.expect(400, "POST", "/features", #"{"key":"x","meter":"none"}"#)
            #expect(try await Self.versions(server).catalog == Int64(changes.count + 1))
        }
    }

    @Test func everyChangeOfATenantRaisesItsVersion() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "10")
            #expect(try await Self.versions(server).tenant == 1)
            let changes: [(Int, String, String, String)] = [
                (200, "PATCH", "/tenants/acme", #"{"subjects":["a"]}"#),
                (200, "PATCH", "/tenants/acme", #"{"timezone":"UTC"}"#),
                (200, "POST", "/tenants/acme/suspend", ""),
                (200, "POST", "/tenants/acme/resume", ""),
                (201, "POST", "/subscriptions", #"{"tenant":"acme","plan":"pro"}"#),
            ]
            for (index, (status, method, path, body)) in changes.enumerated() {
                _ = try await server.expect(status, method, path, body)
                #expect(try await Self.versions(server).tenant == Int64(index + 2), "\(method) \(path)")
            }
            let list = try await server.expect(200, "GET", "/subscriptions")
            let id = try #require(list.json["data"]?[0]?["id"]?.string)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel")
            #expect(try await Self.versions(server).tenant == Int64(changes.count + 2))
        }
    }
}
