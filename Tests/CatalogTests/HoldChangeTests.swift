import BillingCore
import Postgres
import Testing
import TestSupport

@testable import Catalog

/// Which changes of plans and prices open calls are still to follow.
@Suite struct HoldChangeTests {
    private static func note(_ tenants: [Int64], _ fixture: CatalogFixture) async throws {
        for tenant in tenants {
            try await fixture.pool.transaction(.worker) { transaction in
                HoldChangeStore.note(TenantID(rawValue: tenant), in: transaction)
            }
        }
    }

    private static func rows(_ fixture: CatalogFixture) async throws -> [String] {
        try await fixture.pool.query(
            .worker,
            "SELECT tenant_id || CASE WHEN is_begun THEN ' begun' ELSE '' END FROM hold_change ORDER BY tenant_id"
        ) { row throws(PostgresError) in try row.next(String.self) }
    }

    @Test("changes of many tenants are taken together, so many at most, and nobody else has them meanwhile")
    func together() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(5)
            try await Self.note([1, 2, 3, 4, 5], fixture)
            let first = try await HoldChangeStore.take(atMost: 3, pool: fixture.pool)
            let second = try await HoldChangeStore.take(atMost: 3, pool: fixture.pool)
            #expect(first.map(\.tenant.rawValue).sorted() == [1, 2, 3])
            #expect(second.map(\.tenant.rawValue).sorted() == [4, 5])
            #expect(try await HoldChangeStore.take(atMost: 3, pool: fixture.pool).isEmpty)
        }
    }

    @Test("what is gone through is begun, and forgotten once nobody can hold by what was before")
    func twice() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(2)
            try await Self.note([1, 2], fixture)
            let first = try await HoldChangeStore.take(atMost: 9, pool: fixture.pool)
            try await HoldChangeStore.finish(first, pool: fixture.pool)
            #expect(try await Self.rows(fixture) == ["1 begun", "2 begun"])
            #expect(try await HoldChangeStore.take(atMost: 9, pool: fixture.pool).isEmpty)
            try await HoldChangeStore.noteHorizons(pool: fixture.pool)
            // Transactions of other databases of the server delay it.
            let isForgotten = try await eventually {
                let last = try await HoldChangeStore.take(atMost: 9, pool: fixture.pool)
                try await HoldChangeStore.finish(last, pool: fixture.pool)
                return try await Self.rows(fixture).isEmpty
            }
            #expect(isForgotten)
        }
    }

    @Test("a change that is made anew while it is gone through is not renewed, put off or forgotten with the others")
    func anew() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(3)
            try await Self.note([1, 2, 3], fixture)
            let taken = try await HoldChangeStore.take(atMost: 9, pool: fixture.pool)
            try await Self.note([2], fixture)
            let renewed = try await HoldChangeStore.renew(taken, pool: fixture.pool)
            #expect(renewed.map(\.tenant.rawValue).sorted() == [1, 3])
            try await HoldChangeStore.finish(taken, pool: fixture.pool)
            #expect(
                try await Self.rows(fixture) == ["1", "2", "3"],
                "those taken before they were renewed are not theirs"
            )
            try await HoldChangeStore.finish(renewed, pool: fixture.pool)
            #expect(try await Self.rows(fixture) == ["1 begun", "2", "3 begun"])
            let again = try await HoldChangeStore.take(atMost: 9, pool: fixture.pool)
            #expect(again.map(\.tenant.rawValue) == [2])
            try await HoldChangeStore.putOff(again, pool: fixture.pool)
            #expect(try await HoldChangeStore.take(atMost: 9, pool: fixture.pool).isEmpty)
        }
    }

    @Test("a row that somebody is changing holds up none of the others")
    func lockedRow() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(2)
            try await Self.note([1, 2], fixture)
            let taken = try await HoldChangeStore.take(atMost: 9, pool: fixture.pool)
            let pool = fixture.pool
            try await pool.whileHeld("SELECT FROM hold_change WHERE tenant_id = 1 FOR UPDATE", lane: .interactive) {
                let renewed = try await HoldChangeStore.renew(taken, pool: pool)
                #expect(renewed.map(\.tenant.rawValue) == [2])
            }
        }
    }
}
