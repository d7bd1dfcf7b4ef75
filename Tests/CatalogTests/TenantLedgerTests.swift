import BillingCore
import Postgres
import TestSupport
import Testing

@testable import Catalog

@Suite struct TenantLedgerTests {
    @Test func allocatesConsecutiveNumbersPerTenant() async throws {
        try await CatalogFixture.run { fixture in
            let first = try await fixture.transaction {
                try TenantLedger.allocate([TenantID(2): 5, TenantID(1): 3, TenantID(9): 0], in: $0)
            }
            #expect(first.mapValues(\.ledgerSequence) == [TenantID(1): 3, TenantID(2): 5, TenantID(9): 0])
            let second = try await fixture.transaction { try TenantLedger.allocate([TenantID(1): 2], in: $0) }
            #expect(second[TenantID(1)]?.ledgerSequence == 5)
            #expect(second[TenantID(1)]?.catalogVersion == 1)
            let bumped = try await fixture.transaction { try TenantLedger.lockAndBump(TenantID(1), in: $0) }
            #expect(bumped?.ledgerSequence == 5 && bumped?.catalogVersion ?? 0 > 1)
            let locked = try await fixture.transaction { try TenantLedger.lock(TenantID(1), in: $0) }
            #expect(locked == bumped)
        }
    }

    @Test func manyWritersNeitherDeadlockNorLoseNumbers() async throws {
        try await CatalogFixture.run { fixture in
            let tenants = (1...20).map { TenantID(Int64($0)) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<8 {
                    group.addTask {
                        for round in 0..<20 {
                            let chosen = tenants.filter { ($0.rawValue + Int64(writer * round)) % 3 != 0 }
                            let counts = Dictionary(uniqueKeysWithValues: chosen.map { ($0, Int64(1)) })
                            try await fixture.transaction { _ = try TenantLedger.allocate(counts, in: $0) }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let expected: [TenantID] = (0..<8).flatMap { writer in
                (0..<20).flatMap { round in tenants.filter { ($0.rawValue + Int64(writer * round)) % 3 != 0 } }
            }
            let counts = Dictionary(expected.map { ($0, Int64(1)) }, uniquingKeysWith: +)
            let ends = try await fixture.transaction { transaction in
                try TenantLedger.allocate(counts.mapValues { _ in 0 }, in: transaction)
            }
            #expect(ends.mapValues(\.ledgerSequence) == counts)
        }
    }

    @Test func periodsAreMadeOnceWhoeverAsks() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(2)
            try await fixture.subscribeEverybody()
            let tenants = try await fixture.catalog.tenants(subjects: ["t1", "t2"])
            let wanted = tenants.values.flatMap { tenant in
                tenant.subscriptions.flatMap { subscription in
                    (0..<3).map { index in
                        BillingPeriod.Wanted(
                            tenantID: tenant.id,
                            subscriptionID: subscription.id,
                            index: index,
                            interval: subscription.periods.interval(index)
                        )
                    }
                }
            }
            let made = try await withThrowingTaskGroup(of: [BillingPeriod].self) { group in
                for _ in 0..<6 {
                    group.addTask { try await fixture.transaction { try BillingPeriodStore.ensure(wanted, in: $0) } }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(made.allSatisfy { $0 == made.first && $0.count == 6 })
            let one = try #require(wanted.first)
            let listed = try await fixture.transaction {
                try BillingPeriodStore.all(of: one.tenantID, in: $0).filter { $0.index >= 1 }
            }
            #expect(listed.map(\.index) == [1, 2])
            #expect(listed.allSatisfy { $0.status == .open })
        }
    }
}
