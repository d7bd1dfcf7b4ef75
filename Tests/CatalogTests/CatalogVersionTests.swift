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
            var last = try await Self.versions(server).catalog
            for (status, method, path, body) in changes {
                _ = try await server.expect(status, method, path, body)
                let version = try await Self.versions(server).catalog
                #expect(version > last, "\(method) \(path)")
                last = version
            }
            _ = try await server.expect(200, "POST", "/plans/pro/versions/1/publish")
            #expect(try await Self.versions(server).catalog == last)
            _ = try await server.expect(400, "POST", "/meters", "{}")
            _ = try await server.expect(400, "POST", "/features", #"{"key":"x","meter":"none"}"#)
            #expect(try await Self.versions(server).catalog == last)
        }
    }

    @Test func everyChangeOfATenantRaisesItsVersion() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "10")
            var last = try #require(try await Self.versions(server).tenant)
            let changes: [(Int, String, String, String)] = [
                (200, "PATCH", "/tenants/acme", #"{"subjects":["a"]}"#),
                (200, "PATCH", "/tenants/acme", #"{"timezone":"UTC"}"#),
                (200, "POST", "/tenants/acme/suspend", ""),
                (200, "POST", "/tenants/acme/resume", ""),
                (201, "POST", "/subscriptions", #"{"tenant":"acme","plan":"pro"}"#),
            ]
            for (status, method, path, body) in changes {
                _ = try await server.expect(status, method, path, body)
                let version = try #require(try await Self.versions(server).tenant)
                #expect(version > last, "\(method) \(path)")
                last = version
            }
            let list = try await server.expect(200, "GET", "/subscriptions")
            let id = try #require(list.json["data"]?[0]?["id"]?.string)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel")
            #expect(try #require(try await Self.versions(server).tenant) > last)
        }
    }

    @Test("a database that lost its last changes gives no version out again, and is followed back")
    func restoredDatabase() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(1)
            let (catalog, tenant) = (fixture.catalog, TenantID(1))
            let kept = try await fixture.transaction { try CatalogVersion.bump(in: $0) }
            let lost = try await fixture.transaction { transaction in
                (
                    try CatalogVersion.bump(in: transaction),
                    try TenantLedger.lockAndBump(tenant, in: transaction)?.catalogVersion
                )
            }
            try await catalog.reload()
            #expect(catalog.current.version == lost.0)
            try await fixture.database.run(
                """
                UPDATE catalog_version SET version = \(kept);
                UPDATE tenant_ledger SET catalog_version = 1;
                """
            )
            try await catalog.reload()
            #expect(catalog.current.version == kept)
            let next = try await fixture.transaction { transaction in
                (
                    try CatalogVersion.bump(in: transaction),
                    try TenantLedger.lockAndBump(tenant, in: transaction)?.catalogVersion
                )
            }
            #expect(next.0 > lost.0)
            #expect(try #require(next.1) > #require(lost.1))
        }
    }
}
