import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import Web

@testable import Limits

/// The statements of every admission, of what ends one, and of clean-up read the rows that they are about.
@Suite struct ReservationPlanTests {
    /// Of 2,000 tenants ten open reservations and ten closed ones each, with rows of two limits, and one rate.
    private static let rows = """
        INSERT INTO reservation (tenant_id, reservation_id, admission_key, content_hash, source, admission_id,
            event_type, subject, status, created_at, expires_at, suspense_ends_at, closed_at, holds)
        SELECT 1 + n % 2000, id, id, n, 's', 'a' || n, 'e', 't', CASE WHEN n <= 20000 THEN 'held' ELSE 'settled' END,
            time, time, time, CASE WHEN n > 20000 THEN time END, '[]'
        FROM generate_series(1, 40000) n,
            LATERAL (SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id,
                timestamptz '2026-11-01Z' + n * interval '1 second' AS time) AS of_one;
        INSERT INTO limit_state (tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot,
            limit_amount, limit_revision)
        SELECT tenant, 1, '', day, day + interval '1 day', 1, 1, 0, 1000, 1
        FROM generate_series(1, 2000) tenant, generate_series('1970-01-01Z'::timestamptz, '1970-01-10Z', '1 day') day;
        INSERT INTO rate_state (tenant_id, limit_id, scope_value, arrival, unit_interval)
        SELECT tenant, rate, '', 0, 1 FROM generate_series(1, 2000) tenant, generate_series(1, 5) rate;
        """

    private static let asked = 20

    private static func names(from first: Int) throws -> [TenantReservation] {
        try (first..<(first + asked)).map { number in
            let id = try #require(ReservationID("00000000-0000-7000-8000-" + hexadecimal(number)))
            return TenantReservation(tenant: TenantID(Int64(1 + number % 2_000)), id: id)
        }
    }

    private static func key(_ number: Int) -> PostgresUUID {
        PostgresUUID(high: 0x7000, low: 0x8000_0000_0000_0000 + UInt64(number))
    }

    private static func hexadecimal(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }

    private static func statements(at now: Instant) throws -> [(String, SQL)] {
        let open = try names(from: 1_000)
        let (tenants, keys) = (open.map(\.tenant), (0..<asked).map { key(1_000 + $0) })
        let rows = open.map { LimitRow(tenant: $0.tenant, limit: LimitID(1), windowStart: Instant(microseconds: 0)) }
        let changes = rows.map { row in
            var change = LimitChange(row: row, windowEnd: now, amount: FixedDecimal(1_000), revision: 1)
            (change.held, change.used) = (.one, .one)
            return change
        }
        let rates = rows.map { RateUse(row: $0, interval: .one) }
        return [
            ("existing", ReservationStore.existing(tenants: tenants, keys: keys)),
            (
                "repeated",
                ReservationStore.noteRepeated(
                    tenants: tenants,
                    keys: keys,
                    contentHashes: (0..<Int64(asked)).map { 1_000 + $0 }
                )
            ),
            ("by id", ReservationStore.reservation(open[0].id, of: nil)),
            ("call", ReservationStore.call(of: open[0])),
            ("holds", ReservationStore.holds(of: open)),
            ("reserving", ReservationStore.reserving(of: tenants)),
            ("settled in part", ReservationStore.setHolds(Dictionary(uniqueKeysWithValues: open.map { ($0, []) }))),
            (
                "closed",
                ReservationStore.close(Dictionary(uniqueKeysWithValues: open.map { ($0, .settled) }), at: now)
            ),
            ("forgotten", ReservationStore.forget(Set(try names(from: 2_000)))),
            ("cleaned up", ReservationStore.deleteClosed(before: now, limit: asked)),
            ("counted", LimitStateStore.count(changes)),
            ("held", LimitStateStore.hold(changes)),
            ("held within limits", LimitStateStore.hold(changes, within: [LimitID(1)])),
            ("locked rates", RateStateStore.lock(rates, at: now)),
            ("used rates", RateStateStore.advance(rates, at: now)),
        ]
    }

    /// Those of what callers wait for also in tables that have just grown and that nobody has analysed.
    @Test func whatAnAdmissionTakesAndWhatEndsItReadsItsOwnRows() async throws {
        try await TestDatabase.with { database in
            try await database.run(Self.rows)
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            func expectFewRows(_ name: String, _ statement: SQL) async throws {
                let plan = try await QueryPlan(of: statement, executing: true, on: .admission, pool)
                #expect((1...4 * Self.asked).contains(plan.rowsTouched), "\(name): \(plan)")
            }
            let now = try Instant(parsing: "2026-12-01T00:00:00Z")
            for (name, statement) in try Self.statements(at: now) { try await expectFewRows(name, statement) }
            try await database.run("ANALYZE reservation")
            try await expectFewRows("due", ReservationStore.due(at: now, after: nil, limit: Self.asked))
            await pool.close()
        }
    }
}
