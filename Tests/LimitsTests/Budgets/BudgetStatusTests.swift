import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Limits

/// What budgets have used, from rows of `limit_state` that stand there already, and what a change does to those rows.
@Suite struct BudgetStatusTests {
    /// A row of a budget's state.
    private struct Row {
        var budget: String
        var tenant: String?
        var value = ""
        var start = "2026-11-23T00:00:00Z"
        var end = "2026-11-24T00:00:00Z"
        var used = "0"
        var held = "0"
        var limit = "100"
    }

    private static func add(_ row: Row, to server: TestServer) async throws {
        let tenant = row.tenant.map { "(SELECT tenant_id FROM tenant WHERE key = '\($0)')" } ?? "0"
        try await server.database.run(
            """
            INSERT INTO limit_state (
                tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                limit_revision
            )
            SELECT \(tenant), limit_id, '\(row.value)', '\(row.start)', '\(row.end)', \(row.used), \(row.held), 0,
                \(row.limit), revision
            FROM budget WHERE key = '\(row.budget)'
            """
        )
    }

    private static func make(_ server: TestServer, _ key: String, _ scope: String, _ bound: String) async throws {
        try await server.ask("POST", "/budgets", #"{"key":"\#(key)","scope":\#(scope),\#(bound)}"#, expecting: 201)
    }

    private static let daily = #""measure":"requests","amount":"100","window":"day""#

    @Test("used, held, remaining, percent and projection are those of the present window")
    func numbers() async throws {
        try await TestServer.run { server in
            try await Self.make(server, "day", "{}", Self.daily)
            try await Self.add(Row(budget: "day", used: "30", held: "20"), to: server)
            let yesterday = Row(
                budget: "day",
                start: "2026-11-22T00:00:00Z",
                end: "2026-11-23T00:00:00Z",
                used: "99"
            )
            try await Self.add(yesterday, to: server)
            // Counted since 08:00, so 4 of 16 hours.
            server.clock.advance(seconds: 4 * 3_600)
            let status = try await server.ask("GET", "/budgets/day")["status"]
            #expect(
                status?.text == """
                    {"rates":[],"truncated":false,\
                    "windows":[{"counted_since":"2026-11-23T08:00:00.000000Z","held":"20",\
                    "overshoot":"0","percent":"30","projected":"120","remaining":"50","scope":{},"used":"30",\
                    "window":{"end":"2026-11-24T00:00:00.000000Z","kind":"day","start":"2026-11-23T00:00:00.000000Z"}}]}
                    """
            )
            server.clock.advance(seconds: 12 * 3_600)
            let next = try await server.ask("GET", "/budgets/day")["status"]?["windows"]?[0]
            #expect(next?["used"]?.string == "0" && next?["projected"] == .null)
            #expect(next?["window"]?["start"]?.string == "2026-11-24T00:00:00.000000Z")
            #expect(next?["counted_since"]?.string == "2026-11-24T00:00:00.000000Z")
        }
    }

    @Test("days begin in the tenant's zone, or in the operator's, and a billing period with its subscription")
    func windows() async throws {
        try await TestServer.run { configuration in
            configuration.zone = .tokyo
        } _: { server in
            try await server.addTenant("acme", zone: "Europe/Berlin")
            try await server.addFeature("seconds")
            let price = #"{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}}"#
            try await server.publish(#"{"charges":[\#(price)]}"#)
            try await Self.make(server, "all", "{}", Self.daily)
            try await Self.make(server, "acme", #"{"tenant":"acme"}"#, Self.daily)
            let period = #""measure":"requests","amount":"100","window":"billing_period""#
            try await Self.make(server, "period", #"{"tenant":"acme"}"#, period)
            try await Self.make(server, "ever", "{}", #""measure":"requests","amount":"100","window":"lifetime""#)
            func start(_ key: String) async throws -> JSONValue? {
                try await server.ask("GET", "/budgets/\(key)")["status"]?["windows"]?[0]?["window"]?["start"]
            }
            #expect(try await start("all") == .string("2026-11-22T15:00:00.000000Z"))
            #expect(try await start("acme") == .string("2026-11-22T23:00:00.000000Z"))
            #expect(try await start("period") == nil)
            #expect(try await start("ever") == .null)
            try await server.subscribe(at: "2026-11-10T12:00:00Z")
            // The replica is told of the subscription, if only a moment later.
            let begins = try await eventually { try await start("period") == .string("2026-11-10T12:00:00.000000Z") }
            #expect(begins)
        }
    }

    @Test("the billing period of a subscription that was ended is no window any more")
    func endedPeriods() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish("{}")
            let period = #""measure":"requests","amount":"100","window":"billing_period""#
            try await Self.make(server, "each", #"{"tenant":"*"}"#, period)
            let ended = try await server.subscribe(at: "2026-11-10T12:00:00Z")
            try await server.ingest(SentEvent("a"))
            func used() async throws -> [String?]? {
                let listed = try await server.ask("GET", "/budgets/each")["status"]?["windows"]?.elements
                let paged = try await server.ask("GET", "/budgets/each/status")["data"]?.elements
                #expect(listed == paged)
                return paged?.map { $0["used"]?.string }
            }
            #expect(try await used() == ["1"])
            server.clock.advance(seconds: 60)
            try await server.ask("POST", "/subscriptions/\(ended)/cancel", #"{"at":"now"}"#)
            server.clock.advance(seconds: 60)
            let isOver = try await eventually { try await used() == [] }
            #expect(isOver)
            // However many of them there are, with more use than others.
            for number in 10...69 {
                let start = "2026-11-11T\(number / 10 + 10):1\(number % 10):00Z"
                try await Self.add(
                    Row(budget: "each", tenant: "acme", start: start, end: "2026-12-10T12:00:00Z", used: "\(number)"),
                    to: server
                )
            }
            try await server.addTenant("beta")
            try await server.subscribe("beta", at: "2026-11-10T12:00:00Z")
            try await server.ingest(SentEvent("b", subject: "beta"))
            #expect(try await used() == ["1"])
        }
    }

    @Test("where each user of each tenant has a row, the fullest come first, and pages go through all of them")
    func rowsOfEach() async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            try await Self.make(server, "each", #"{"tenant":"*","user":"*"}"#, Self.daily)
            try await Self.make(server, "split", #"{"tenant":"acme","user":"*","model":"*"}"#, Self.daily)
            for index in 1...60 {
                let tenant = index.isMultiple(of: 2) ? "acme" : "beta"
                // Of every third all is held.
                let (used, held) = index.isMultiple(of: 3) ? (0, index / 2) : (index / 2, 0)
                let row = Row(budget: "each", tenant: tenant, value: "u\(index)", used: "\(used)", held: "\(held)")
                try await Self.add(row, to: server)
            }
            try await Self.add(Row(budget: "split", tenant: "acme", value: #"["u1","gpt-4o"]"#, used: "7"), to: server)
            let status = try await server.ask("GET", "/budgets/each")["status"]
            #expect(status?["truncated"]?.bool == true && status?["windows"]?.elements?.count == 50)
            let fullest = status?["windows"]?[0]
            #expect(fullest?["scope"]?.text == #"{"tenant":"acme","user":"u60"}"# && fullest?["held"]?.string == "30")
            #expect(status?["windows"]?[1]?["percent"]?.string == "29")
            let listed = try await server.ask("GET", "/budgets")["data"]
            #expect(listed?[0]?["status"]?["windows"]?.elements?.count == 5)
            let split = listed?[1]?["status"]?["windows"]
            #expect(split?[0]?["scope"]?.text == #"{"tenant":"acme","user":"u1","model":"gpt-4o"}"#)
            var users: [String] = []
            var cursor: String? = ""
            while let at = cursor, users.count < 100 {
                let query = at.isEmpty ? "" : "&cursor=\(at)"
                let page = try await server.ask("GET", "/budgets/each/status?limit=7\(query)")
                users += (page["data"]?.elements ?? []).compactMap { $0["scope"]?["user"]?.string }
                cursor = page["next_cursor"]?.string
            }
            #expect(users.count == 60 && Set(users).count == 60)
            #expect(
                Array(users.prefix(50)) == status?["windows"]?.elements?.compactMap { $0["scope"]?["user"]?.string }
            )
            let first = try await server.ask("GET", "/budgets/each/status?limit=7")["next_cursor"]?.string ?? ""
            let foreign = try await server.ask("GET", "/budgets/split/status?cursor=\(first)", expecting: 400)
            #expect(foreign["errors"]?[0]?["code"]?.string == "invalid_cursor")
            let whole = try await server.ask("GET", "/budgets/split/status")
            #expect(whole["data"]?.elements?.count == 1 && whole["next_cursor"] == .null)
        }
    }

    @Test("pages go on behind any value that a row can have, and a cursor that nobody gave out is refused")
    func cursors() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.make(
                server,
                "each",
                #"{"tenant":"acme","user":"*","model":"*","provider":"*","client":"*","cost_center":"*"}"#,
                Self.daily
            )
            let long = String(repeating: "\u{1}", count: 254)
            for index in 1...3 {
                let values = (1...5).map { _ in JSONValue.string("\(long)\(index)") }
                let row = Row(budget: "each", tenant: "acme", value: JSONValue.array(values).text, used: "\(index)")
                try await Self.add(row, to: server)
            }
            var used: [String] = []
            var cursor = ""
            repeat {
                let page = try await server.ask("GET", "/budgets/each/status?limit=1\(cursor)")
                used.append(page["data"]?[0]?["used"]?.string ?? "")
                cursor = page["next_cursor"]?.string.map { "&cursor=\($0)" } ?? ""
            } while !cursor.isEmpty && used.count < 9
            #expect(used == ["3", "2", "1"])
            let given = try await server.ask("GET", "/budgets/each/status?limit=1")["next_cursor"]?.string ?? ""
            // Within the values.
            let position = try #require(Base64URL.decoded(given))
            let forged = Base64URL.encoded(position.map { $0 == 1 ? 0 : $0 })
            let refused = try await server.ask("GET", "/budgets/each/status?cursor=\(forged)", expecting: 400)
            #expect(refused["errors"]?[0]?["code"]?.string == "invalid_cursor")
        }
    }

    @Test("a tenant sees its own rows")
    func rowsOfATenant() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.make(server, "users", #"{"tenant":"acme","user":"*"}"#, Self.daily)
            try await Self.add(Row(budget: "users", tenant: "acme", value: "u1", used: "7"), to: server)
            let acme = try await server.client([.budgetsRead], tenant: "acme")
            let shown = try await acme.get("/api/v1/budgets/users").expecting(200)
            #expect(shown.json["status"]?["windows"]?[0]?["used"]?.string == "7")
            let page = try await acme.get("/api/v1/budgets/users/status").expecting(200)
            #expect(page.json["data"]?[0]?["scope"]?.text == #"{"tenant":"acme","user":"u1"}"#)
        }
    }

    @Test(
        "lowering an amount records the excess as overshoot in present and coming windows, raising it takes none back"
    )
    func loweringRecordsOvershoot() async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            try await Self.make(server, "each", #"{"tenant":"*"}"#, Self.daily)
            try await Self.add(Row(budget: "each", tenant: "acme", used: "30", held: "20"), to: server)
            try await Self.add(Row(budget: "each", tenant: "beta", used: "5"), to: server)
            let tomorrow = ("2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z")
            let coming = Row(budget: "each", tenant: "acme", start: tomorrow.0, end: tomorrow.1, held: "45")
            let past = Row(
                budget: "each",
                tenant: "acme",
                start: "2026-11-22T00:00:00Z",
                end: "2026-11-23T00:00:00Z",
                used: "90"
            )
            for row in [coming, past] { try await Self.add(row, to: server) }
            func rows() async throws -> [String?] {
                try await server.column(
                    """
                    SELECT concat_ws(' ', tenant.key, trim_scale(used), trim_scale(held), trim_scale(overshoot),
                        trim_scale(limit_amount), limit_revision)
                    FROM limit_state JOIN tenant USING (tenant_id) ORDER BY key, window_start
                    """
                )
            }
            try await server.changeBudget("each", #"{"amount":"40"}"#)
            let lowered = ["acme 90 0 0 100 1", "acme 30 20 10 40 2", "acme 0 45 5 40 2", "beta 5 0 0 40 2"]
            #expect(try await rows() == lowered)
            try await server.changeBudget("each", #"{"amount":"1000"}"#)
            let raised = ["acme 90 0 0 100 1", "acme 30 20 10 1000 3", "acme 0 45 5 1000 3", "beta 5 0 0 1000 3"]
            #expect(try await rows() == raised)
            let broken = try await server.column(
                "SELECT 'broken' FROM limit_state WHERE used + held - overshoot > limit_amount"
            )
            #expect(broken == [])
            try await server.changeBudget("each", #"{"thresholds":[10]}"#)
            #expect(try await rows().last == "beta 5 0 0 1000 4")
            try await server.operatorClient.delete("/api/v1/budgets/each").expecting(204)
            #expect(try await rows().last == "beta 5 0 0 1000 4")
        }
    }

    @Test("a change fires the thresholds that use meets by it, once, and arms again those that it no longer meets")
    func changesFireThresholds() async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            try await Self.make(server, "each", #"{"tenant":"*","user":"*"}"#, Self.daily)
            try await Self.add(Row(budget: "each", tenant: "acme", value: "u1", used: "45"), to: server)
            try await Self.add(Row(budget: "each", tenant: "beta", value: "u1", used: "5"), to: server)
            func change(_ patch: String) async throws -> [String] {
                let known = try await alerts()
                try await server.changeBudget("each", patch)
                return try await alerts().filter { !known.keys.contains($0.key) }.values.sorted()
            }
            func alerts() async throws -> [String: String] {
                let page = try await server.ask("GET", "/alerts?limit=500")
                let told = (page["data"]?.elements ?? []).map { alert in
                    (
                        alert["id"]?.string ?? "",
                        ["tenant", "scope_value", "threshold"].map { alert[$0]?.string ?? "-" }.joined(separator: " ")
                    )
                }
                return Dictionary(uniqueKeysWithValues: told)
            }
            // 45 of 60 is 75 percent.
            #expect(try await change(#"{"amount":"60"}"#) == ["acme u1 50"])
            #expect(try await change(#"{"forecast":true}"#) == [])
            #expect(try await change(#"{"thresholds":[40,50,75]}"#) == ["acme u1 40", "acme u1 75"])
            // 45 of 80 is 56 percent: 75 is armed again, and fires when it is met again.
            #expect(try await change(#"{"amount":"80"}"#) == [])
            #expect(try await change(#"{"amount":"60"}"#) == ["acme u1 75"])
            #expect(try await change(#"{"amount":"5"}"#) == ["beta u1 40", "beta u1 50", "beta u1 75"])
        }
    }

    @Test("rows that only say how what is held divides are no rows of a budget")
    func partsAreNoRows() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.make(server, "each", #"{"tenant":"*"}"#, Self.daily)
            try await Self.add(Row(budget: "each", tenant: "acme", used: "3", held: "5"), to: server)
            try await Self.add(Row(budget: "each", tenant: "acme", value: "#1/1/q/", held: "900"), to: server)
            let windows = try await server.ask("GET", "/budgets/each")["status"]?["windows"]?.elements ?? []
            #expect(windows.map { $0["held"]?.string } == ["5"])
            try await server.changeBudget("each", #"{"amount":"4"}"#)
            let overshoots = try await server.column(
                "SELECT trim_scale(overshoot)::text FROM limit_state ORDER BY scope_value"
            )
            #expect(overshoots == ["4", "0"])
        }
    }

    @Test("of a tenant's budget over billing periods no rows of those that are over are read")
    func rowsOfThePresentPeriod() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.publish("{}")
            try await server.subscribe(at: "2026-08-10T12:00:00Z")
            let numbers = try await server.column("SELECT tenant_id::text FROM tenant")
            let number = try #require(numbers.first ?? nil)
            let id = TenantID(rawValue: try #require(Int64(number)))
            let start = try Instant(parsing: "2026-11-10T12:00:00Z")
            try await server.database.run(
                """
                INSERT INTO limit_state (
                    tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                    limit_revision
                )
                SELECT \(number), limit_number, 'u' || person, month, month + interval '31 days', 1, 0, 0, 1, 1
                FROM generate_series(1, 200) AS person, generate_series(1041, 1060) AS limit_number, unnest(
                    '{2026-08-10 12:00Z,2026-09-10 12:00Z,2026-10-10 12:00Z,2026-11-10 12:00Z}'::timestamptz[]
                ) AS month;
                ANALYZE limit_state
                """
            )
            var scope = BudgetScope()
            scope.tenant = .exact("acme")
            scope[.user] = .each
            let now = server.clock.now
            let budget = Budget(
                id: LimitID(1_050),
                tenantID: id,
                key: "b",
                scope: scope,
                measure: .requests,
                bound: .window(BudgetWindow(amount: FixedDecimal(1), kind: .billingPeriod, mode: .hard)),
                createdAt: now,
                updatedAt: now
            )
            try await server.withPool { pool in
                let tenant = try await pool.transaction(.worker) { transaction in
                    try TenantSnapshotStore.read([id], plans: [:], now: now, in: transaction).first
                }
                let earliest = budget.earliestWindowStart(at: now, of: tenant, operatorZone: .utc)
                #expect(earliest == start)
                let statement = LimitStateStore.fullest(of: [(budget, earliest)], limit: 500, at: now)
                let plan = try await QueryPlan(of: statement, executing: true, pool)
                // 800 are there, and what the 200 pass through on their way counts again.
                #expect((200..<800).contains(plan.rowsTouched), "\(plan)")
            }
        }
    }

    @Test("the rows of a limit are found by an index, whichever tenants they belong to")
    func rowsAreFoundByAnIndex() async throws {
        try await TestServer.run { server in
            try await server.database.run(
                """
                INSERT INTO limit_state (
                    tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                    limit_revision
                )
                SELECT tenant, limit_number, '', '2026-11-23Z', '2026-11-24Z', 1, 0, 0, 1, 1
                FROM generate_series(1, 200) AS tenant, generate_series(1000, 1100) AS limit_number;
                ANALYZE limit_state
                """
            )
            let window = BudgetWindow(amount: FixedDecimal(1), kind: .day, mode: .hard)
            var scope = BudgetScope()
            scope.tenant = .each
            let budget = Budget(
                id: LimitID(1_050),
                tenantID: .operatorWide,
                key: "b",
                scope: scope,
                measure: .requests,
                bound: .window(window),
                createdAt: server.clock.now,
                updatedAt: server.clock.now
            )
            let today = try Instant(parsing: "2026-11-23T00:00:00Z")
            let row = LimitRow(tenant: TenantID(100), limit: budget.id, windowStart: today)
            try await server.withPool { pool in
                let statements = [
                    LimitStateStore.fullest(of: [(budget, today)], limit: 50, at: server.clock.now),
                    LimitStateStore.fullest(of: budget, since: today, after: nil, limit: 50, at: server.clock.now),
                    LimitStateStore.lastOfNext(50, of: budget.id, .day, after: row, at: server.clock.now),
                    LimitStateStore.follow(Limit(budget), LimitRowPiece(after: row), at: server.clock.now),
                ]
                for statement in statements {
                    let plan = try await QueryPlan(of: statement, pool)
                    #expect(plan.usesIndexesOnly, "\(plan)")
                }
            }
        }
    }
}

extension Zone {
    fileprivate static var tokyo: Zone { Zone(identifier: "Asia/Tokyo") ?? .utc }
}
