import BillingCore
import Postgres
import TestSupport
import Testing
import Usage
import Web

/// Never over a hard limit: 64 clients on three replicas that are killed, against one limit. The database itself looks
/// at every commit, and an observer at every moment from outside.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct AdmissionContentionTests {
    private static let settings = [
        "TURNPIKE_RESERVATION_SUSPENSE_SECONDS": "1", "TURNPIKE_ADMISSION_DEADLINE_MS": "10000",
    ]

    @Test("a quota is never exceeded at any commit, and what is used in the end is what was settled")
    func quota() async throws {
        try await Self.underContention(
            #"{"quotas":[{"feature":"seconds","limit":"1200","window":"lifetime","mode":"hard"}]}"#
        ) { account, used, overshoot in
            #expect(used == "\(account.used)")
            #expect(overshoot == "\(account.overshoot)")
        }
    }

    /// 400 seconds are free and 800 more are within the cap.
    private static let freeTier = """
        {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
          {"up_to":"400","unit_amount":"0"},{"up_to":null,"unit_amount":"2"}]}}],
         "spend_cap":{"amount":"1600","mode":"hard"}}
        """

    private static func charge(_ seconds: Int64) -> Int64 { max(0, seconds - 400) * 2 }

    @Test("so is a spend cap over tiers of which the first is free: its use is what the usage is charged")
    func spendCap() async throws {
        try await Self.underContention(Self.freeTier) { account, used, overshoot in
            #expect(used == "\(Self.charge(account.used))")
            // Less where some of it was free, or stored together with what another call left of its hold.
            #expect((Int64(overshoot) ?? .max) <= account.overshoot * 2)
        }
    }

    @Test("where no call uses more than it held, nothing at all is used beyond such a cap")
    func spendCapWithinHolds() async throws {
        try await Self.underContention(
            Self.freeTier,
            endings: ReservingClients.Ending.withinHold
        ) { account, used, overshoot in
            #expect(used == "\(Self.charge(account.used))")
            #expect(Self.charge(account.used) <= 1_600)
            #expect(account.overshoot == 0 && overshoot == "0")
        }
    }

    private static func underContention(
        _ version: String,
        endings: [ReservingClients.Ending] = ReservingClients.Ending.allCases,
        _ judge: (ReservingClients.Account, _ used: String, _ overshoot: String) -> Void
    ) async throws {
        try await ServedReplicas.run(count: 3, settings: settings) { replicas in
            try await arrange(replicas.client(0), version)
            let atCommit = try await LimitsAtCommit(replicas.database)
            let clients = ReservingClients(clients: 64, calls: 12, seed: 5, endings: endings, on: replicas)
            let observer = LimitObserver(replicas.database)
            async let watching = observer.watch()
            async let killing: Void = kill(replicas)
            await clients.run()
            try await killing
            try await settleDown(replicas.database)
            await observer.stop()
            let seen = try await watching
            let account = clients.account
            print("contention: \(account), \(seen.looks) looks")
            #expect(account.violations == [])
            #expect(seen.broken == [])
            #expect(seen.looks > 20)
            #expect(account.admitted > 50 && account.refused > 50)
            let end = try await observer.states()
            #expect(end.count == 3 && end.allSatisfy { $0.held == "0" })
            #expect(try await differences(replicas.database) == [])
            judge(account, end.first?.used ?? "", end.first?.overshoot ?? "")
            #expect(try await atCommit.broken() == [])
            try await atCommit.breakAndMend(inOneTransaction: true)
            #expect(try await atCommit.broken() == [], "what is mended before the commit was never to be seen")
            try await atCommit.breakAndMend(inOneTransaction: false)
            #expect(try await atCommit.broken().count >= end.count)
        }
    }

    private static func arrange(_ client: TestClient, _ version: String) async throws {
        let steps = [
            ("/api/v1/tenants", #"{"key":"acme","name":"acme","currency":"USD"}"#),
            ("/api/v1/meters", #"{"key":"seconds","event_type":"job.done","aggregation":"sum","value":"seconds"}"#),
            ("/api/v1/features", #"{"key":"seconds","meter":"seconds","unit":"second"}"#),
            ("/api/v1/plans", #"{"key":"pro","name":"pro","currency":"USD"}"#),
            ("/api/v1/plans/pro/versions", version),
        ]
        for (path, body) in steps { try await client.post(path, body).expecting(201) }
        try await client.post("/api/v1/plans/pro/versions/1/publish").expecting(200)
        let start = "2026-01-01T00:00:00Z"
        try await client.post(
            "/api/v1/subscriptions",
            #"{"tenant":"acme","plan":"pro","starts_at":"\#(start)"}"#
        ).expecting(201)
        for (key, scope) in [("acme", #"{"tenant":"acme"}"#), ("company", "{}")] {
            let bound = #""measure":"requests","amount":"100000","window":"hour""#
            try await client.post("/api/v1/budgets", #"{"key":"\#(key)","scope":\#(scope),\#(bound)}"#).expecting(201)
        }
    }

    /// What `verify` finds.
    private static func differences(_ database: TestDatabase) async throws -> [String] {
        let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
        var found: [String] = []
        try await UsageVerification(pool: pool, clock: .system, operatorZone: .utc).run(
            difference: { found.append($0.description) },
            progress: { _ in }
        )
        await pool.close()
        return found
    }

    private static func kill(_ replicas: ServedReplicas) async throws {
        for replica in [1, 2, 0] {
            try await Task.sleep(for: .milliseconds(700))
            try await replicas.crash(replica)
        }
    }

    /// Waits until no reservation holds anything any more.
    private static func settleDown(_ database: TestDatabase) async throws {
        let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
        let isOver = try await eventually(within: .seconds(60)) {
            // Reservations of clients that were told nothing live for ten minutes: their time is brought forward.
            try await pool.execute(
                .worker,
                """
                UPDATE reservation SET expires_at = created_at, suspense_ends_at = created_at WHERE status = 'held'
                """
            )
            let open = try await pool.query(.worker, "SELECT count(*) FROM reservation WHERE status = 'held'") {
                row throws(PostgresError) in try row.next(Int64.self)
            }
            return open == [0]
        }
        #expect(isOver)
        await pool.close()
    }
}

/// Looks at the rows of limits from outside, as fast as it can.
actor LimitObserver {
    struct Seen: Sendable {
        var looks = 0
        var broken: [String] = []
    }

    struct State: Sendable {
        let used: String
        let held: String
        let overshoot: String
    }

    private let pool: PostgresPool
    private var isOver = false

    init(_ database: TestDatabase) {
        pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
    }

    func stop() { isOver = true }

    func watch() async throws -> Seen {
        var seen = Seen()
        while !isOver {
            seen.broken += try await pool.query(
                .worker,
                """
                SELECT limit_id || ': ' || used || ' + ' || held || ' - ' || overshoot || ' > ' || limit_amount
                FROM limit_state
                WHERE scope_value NOT LIKE '#%' AND used + held - overshoot > limit_amount
                """
            ) { row throws(PostgresError) in try row.next(String.self) }
            seen.looks += 1
            try await Task.sleep(for: .milliseconds(5))
        }
        return seen
    }

    func states() async throws -> [State] {
        let states = try await pool.query(
            .worker,
            """
            SELECT trim_scale(sum(used))::text, trim_scale(sum(held))::text, trim_scale(sum(overshoot))::text
            FROM limit_state WHERE scope_value NOT LIKE '#%' GROUP BY limit_id ORDER BY limit_id
            """
        ) { row throws(PostgresError) in
            (try row.next(String.self), try row.next(String.self), try row.next(String.self))
        }
        await pool.close()
        return states.map { State(used: $0.0, held: $0.1, overshoot: $0.2) }
    }
}
