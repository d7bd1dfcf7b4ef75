import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Usage

/// Swift takes texts for equal that look the same; the database tells them apart by their bytes. Keys of rows must,
/// too: two rows would be written as one, and counted, voided or verified as the other.
@Suite struct SpellingTests {
    private static let spellings = ("mod\u{E8}le", "mode\u{300}le")

    @Test func namesOfUnpricedModelsAreToldApart() {
        func key(_ model: String) -> UnpricedKey {
            UnpricedKey(
                tenant: TenantID(1),
                reason: .price,
                provider: "p",
                model: model,
                dayStart: Instant(microseconds: 0)
            )
        }
        #expect(Self.spellings.0 == Self.spellings.1)
        #expect(Set([key(Self.spellings.0), key(Self.spellings.1), key(Self.spellings.0)]).count == 2)
    }

    @Test func cellsOfCountersAreToldApart() {
        func key(_ cell: String) -> CounterKey {
            CounterKey(tenant: TenantID(1), period: BillingPeriodID(1), feature: FeatureID(1), cell: cell)
        }
        #expect(Set([key(Self.spellings.0), key(Self.spellings.1), key(Self.spellings.0)]).count == 2)
    }

    /// A meter reads the events of a type however that is spelt.
    @Test func spellingsOfATypeAreCountedAnewTogether() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("peak", "max", type: Self.spellings.0)
            let price = #"{"model":"per_unit","unit_amount":"1"}"#
            try await server.publish(#"{"charges":[{"feature":"peak","price":\#(price)}]}"#)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(
                SentEvent("1", type: Self.spellings.1, data: #"{"seconds":4}"#),
                SentEvent("2", type: Self.spellings.0, data: #"{"seconds":9}"#)
            )
            #expect(try await server.invoiced() == ["peak 9 = 9.00"])
            _ = try await server.void("2")
            #expect(try await server.invoiced() == ["peak 4 = 4.00"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func aTenantsOwnSpellingsAreToldApart() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme", subjects: [Self.spellings.0])
            for subjects in ["\"\(Self.spellings.1)\"", "\"\(Self.spellings.0)\",\"\(Self.spellings.1)\""] {
                try await server.ask("PATCH", "/tenants/acme", #"{"subjects":[\#(subjects)]}"#)
                let stored = try await server.column("SELECT subject FROM subject_directory WHERE NOT is_key")
                #expect(stored.count == subjects.split(separator: ",").count)
                #expect(stored.contains { $0?.utf8.elementsEqual(Self.spellings.1.utf8) == true })
            }
        }
    }

    @Test func subjectsOfTenantsAreToldApart() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme", subjects: [Self.spellings.0])
            try await server.addTenant("beta", subjects: [Self.spellings.1])
            try await server.addFeature("seconds")
            for (id, subject) in [("1", Self.spellings.0), ("2", Self.spellings.1), ("3", Self.spellings.1)] {
                #expect(try await server.ingest(SentEvent(id, subject: subject)).hasPrefix("accepted 1"))
            }
            // In one request, of which neither is known yet.
            _ = try await server.withPool { pool in
                try await pool.execute(.worker, "UPDATE tenant_ledger SET catalog_version = catalog_version + 1")
            }
            let events = [("4", Self.spellings.0), ("5", Self.spellings.1)].map { SentEvent($0, subject: $1) }
            #expect(try await server.post(events).status == 200)
            for (tenant, count) in [("acme", 2), ("beta", 3)] {
                let found = try await server.ask("GET", "/events?tenant=\(tenant)")["data"]?.elements?.count
                #expect(found == count, "\(tenant)")
            }
        }
    }
}
