import Postgres
import TestSupport
import Testing
import Web

/// `POST /tenants/{key}/what-if`.
@Suite struct WhatIfTests {
    private static let perUnit = """
        {"fees":[{"key":"base","name":"Base","amount":"10.00","charged":"in_advance"}],
         "charges":[{"feature":"tokens","price":{"model":"per_unit","unit_amount":"0.1"}},
                    {"feature":"peak","price":{"model":"per_unit","unit_amount":"1"}}]}
        """

    private static let volume = """
        {"fees":[{"key":"base","name":"Base","amount":"25.00","charged":"in_arrears"},
                 {"key":"support","name":"Support","amount":"5.00","charged":"in_advance"}],
         "minimum_commitment":"40.00","included_credit":"2.00",
         "charges":[{"feature":"tokens","price":{"model":"volume","tiers":[
           {"up_to":"100","unit_amount":"0.1"},{"up_to":null,"unit_amount":"0.05","flat_amount":"3"}]}}]}
        """

    private static let matrix = """
        {"charges":[{"feature":"tokens","price":{"model":"matrix","dimensions":["model","token_class"],"cells":[
           {"match":{"model":"m1","token_class":"output"},"price":{"model":"per_unit","unit_amount":"0.5"}}],
           "default":{"model":"graduated","tiers":[{"up_to":"10","unit_amount":"0"},
                                                   {"up_to":null,"unit_amount":"0.01"}]}}},
                    {"feature":"peak","price":{"model":"package","amount":"2","package_size":"10"}}]}
        """

    /// A feature of token classes and one of the greatest value, and plan `pro` in a first version.
    private static func arrange(_ server: TestServer) async throws {
        let meter = """
            {"key":"tokens","event_type":"job.done","aggregation":"sum","class_dimension":"token_class",
             "value":{"input":"input_tokens","output":"output_tokens"},"dimensions":{"model":"model"}}
            """
        try await server.ask("POST", "/meters", meter, expecting: 201)
        try await server.ask(
            "POST",
            "/features",
            #"{"key":"tokens","name":"Tokens","meter":"tokens","unit":"token"}"#,
            expecting: 201
        )
        try await server.addFeature("peak", "max", of: "seats")
        try await server.publish(perUnit)
    }

    private static func usage(_ tenant: String) -> [SentEvent] {
        [
            SentEvent("1", subject: tenant, data: #"{"model":"m1","input_tokens":60,"output_tokens":40,"seats":3}"#),
            SentEvent("2", subject: tenant, data: #"{"model":"m2","input_tokens":50,"output_tokens":7,"seats":12}"#),
            SentEvent("3", subject: tenant, data: #"{"model":"m1","input_tokens":1000}"#),
        ]
    }

    private static func draft(_ server: TestServer, _ version: String) async throws {
        try await server.ask("POST", "/plans/pro/versions", version, expecting: 201)
    }

    private static func tryVersion(_ server: TestServer, _ version: Int, _ more: String = "") async throws -> JSONValue
    {
        try await server.ask("POST", "/tenants/acme/what-if", #"{"plan":"pro","version":\#(version)\#(more)}"#)
    }

    private static func lines(_ answer: JSONValue) -> [String] {
        (answer["periods"]?[0]?["lines"]?.elements ?? []).map { line in
            let name = line["key"]?.string ?? line["kind"]?.string ?? "?"
            let cell = line["cell"]?.text ?? "{}"
            let amounts = ["current_amount", "proposed_amount", "delta"].map { line[$0]?.string ?? "-" }
            return "\(name)\(cell == "{}" ? "" : cell) \(amounts.joined(separator: " "))"
        }
    }

    @Test func theDifferenceIsToldLineByLineAndNothingIsStored() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.post(Self.usage("acme")).expecting(200)
            _ = try await server.void("3")
            try await Self.draft(server, Self.volume)
            let before = try await server.ask("GET", "/tenants/acme/upcoming-invoice").text
            let answer = try await Self.tryVersion(server, 2)
            // 157 tokens: 15.70 now, 157 x 0.05 + 3 proposed. The commitment is over usage alone.
            #expect(
                Self.lines(answer) == [
                    "base 10.00 25.00 15.00", "support - 5.00 5.00", "tokens 15.70 10.85 -4.85",
                    "commitment - 29.15 29.15", "peak 12.00 - -12.00",
                ]
            )
            #expect(answer["proposed"]?["status"]?.string == "draft")
            #expect(answer["ledger_seq"]?.number == "4")
            let period = try #require(answer["periods"]?[0])
            #expect(
                period["current"]?.text
                    == #"{"included_credit":"0.00","subtotal":"37.70","total":"37.70","unpriced":[]}"#
            )
            let peak = """
                {"cell":{},"events":null,"feature":"peak","lacks":"price","period":null,"quantity":"12","unit":"unit"}
                """
            #expect(
                period["proposed"]?.text
                    == #"{"included_credit":"2.00","subtotal":"70.00","total":"68.00","unpriced":[\#(peak)]}"#
            )
            #expect(period["period"]?["end"]?.string == "2026-12-01T00:00:00.000000Z")
            #expect(answer["delta"]?.string == "30.30")
            #expect(try await server.ask("GET", "/tenants/acme/upcoming-invoice").text == before)
            #expect(try await server.differences() == [])
        }
    }

    /// What a matrix would count is found in the raw events, and comes to what a tenant is charged that has the plan.
    @Test(arguments: [volume, matrix])
    func itIsWhatATenantWithThatVersionIsCharged(_ version: String) async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            try await Self.arrange(server)
            try await server.publish(version)
            let subscription = #"{"tenant":"TENANT","plan":"pro","version":VERSION,"starts_at":"2026-11-01T00:00:00Z"}"#
            for (tenant, number) in [("acme", "1"), ("beta", "2")] {
                let body = subscription.replacing("TENANT", with: tenant).replacing("VERSION", with: number)
                try await server.ask("POST", "/subscriptions", body, expecting: 201)
                try await server.post(Self.usage(tenant)).expecting(200)
            }
            let answer = try await Self.tryVersion(server, 2)
            let proposed = (answer["periods"]?[0]?["lines"]?.elements ?? []).filter {
                $0["kind"]?.string == "usage" && $0["proposed_amount"]?.string != nil
            }.map { line in
                let parts = ["key", "quantity", "proposed_amount"].map { line[$0]?.string ?? "?" }
                return "\(parts[0])\(line["cell"]?.text ?? "") \(parts[1]) = \(parts[2])"
            }
            let invoice = try await server.ask("GET", "/tenants/beta/upcoming-invoice")
            let charged = (invoice["lines"]?.elements ?? []).filter { $0["kind"]?.string == "usage" }.map { line in
                let parts = ["feature", "quantity", "amount"].map { line[$0]?.string ?? "?" }
                return "\(parts[0])\(line["cell"]?.text ?? "") \(parts[1]) = \(parts[2])"
            }
            #expect(proposed.sorted() == charged.sorted())
            #expect(!charged.isEmpty)
            #expect(try await server.differences() == [])
        }
    }

    @Test func severalPeriodsAreTriedAtOnce() async throws {
        let clock = TestClock("2026-12-20T00:00:00Z")
        try await TestServer.run(clock: clock) { server in
            try await server.addTenant("acme")
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-05T00:00:00Z")
            for (id, time) in [("1", "2026-11-30T00:00:00Z"), ("2", "2026-12-06T00:00:00Z")] {
                try await server.ingest(SentEvent(id, time: time, data: #"{"input_tokens":100}"#))
            }
            try await Self.draft(server, Self.volume)
            let both = #","from":"2026-11-10T00:00:00Z","to":"2026-12-10T00:00:00Z""#
            let answer = try await Self.tryVersion(server, 2, both)
            let starts = (answer["periods"]?.elements ?? []).compactMap { $0["period"]?["start"]?.string }
            #expect(starts == ["2026-11-05T00:00:00.000000Z", "2026-12-05T00:00:00.000000Z"])
            #expect(answer["current_total"]?.string == "40.00")
            #expect(answer["proposed_total"]?.string == "136.00")
            let november = try await Self.tryVersion(server, 2, #","period":"2026-11-06T00:00:00Z""#)
            #expect(november["proposed_total"]?.string == "68.00")
        }
    }

    /// The current side is charged by its segments, the proposed one as if the plan had never changed.
    @Test(arguments: [volume, matrix])
    func aPeriodWhosePlanChangedIsTriedWhole(_ version: String) async throws {
        let clock = TestClock("2026-11-10T00:00:00Z")
        try await TestServer.run(clock: clock) { server in
            try await server.addTenant("acme")
            try await Self.arrange(server)
            try await server.publish(
                #"{"charges":[{"feature":"tokens","price":{"model":"per_unit","unit_amount":"1"}}]}"#
            )
            let body = #"{"tenant":"acme","plan":"pro","version":1,"starts_at":"2026-11-01T00:00:00Z"}"#
            let id = try await server.ask("POST", "/subscriptions", body, expecting: 201)["id"]?.string ?? ""
            let events = Self.usage("acme")
            try await server.post(Array(events.prefix(1))).expecting(200)
            try await server.ask("POST", "/subscriptions/\(id)/change", #"{"plan":"pro","version":2,"at":"now"}"#)
            clock.advance(seconds: 3_600)
            try await server.post(Array(events.dropFirst())).expecting(200)
            try await Self.draft(server, version)
            let answer = try await Self.tryVersion(server, 3)
            let lines = answer["periods"]?[0]?["lines"]?.elements ?? []
            // 100 tokens at 0.1, then 1,057 at 1; the greatest number of seats until the change was 3.
            let current = lines.filter { $0["kind"]?.string == "usage" }.reduce(into: [:]) { sums, line in
                sums[line["key"]?.string ?? "", default: []] += [line["current_amount"]?.string ?? "-"]
            }
            #expect(current["tokens"]?.contains("1067.00") == true)
            #expect(current["peak"] == ["3.00"])
            let proposed = lines.filter { $0["proposed_amount"]?.string != nil && $0["kind"]?.string == "usage" }
            let tokens = proposed.filter { $0["key"]?.string == "tokens" }.compactMap { $0["proposed_amount"]?.string }
            // All 1,157 by volume; or 40 of output at 0.5 and each other cell beyond 10 at 0.01.
            #expect(tokens.sorted() == (version == Self.volume ? ["60.85"] : ["0.00", "0.40", "10.50", "20.00"]))
            let unused = lines.compactMap { $0["quantity"]?.string }.filter { $0 == "0" }
            #expect(unused == [])
        }
    }

    @Test func whatCannotBeTriedIsRefused() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addTenant("yen", currency: "JPY")
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            func refused(_ tenant: String, _ body: String, as client: TestClient? = nil) async throws -> String {
                let answer = try await (client ?? server.operatorClient).post("/api/v1/tenants/\(tenant)/what-if", body)
                return "\(answer.status) \(answer.code ?? "?")"
            }
            #expect(try await refused("acme", #"{"plan":"pro","version":9}"#) == "404 plan_version_not_found")
            #expect(try await refused("none", #"{"plan":"pro","version":1}"#) == "404 tenant_not_found")
            #expect(try await refused("yen", #"{"plan":"pro","version":1}"#) == "409 currency_mismatch")
            let early = #"{"plan":"pro","version":1,"period":"2026-10-01T00:00:00Z"}"#
            #expect(try await refused("acme", early) == "404 subscription_not_found")
            let years = #"{"plan":"pro","version":1,"from":"2026-11-01T00:00:00Z","to":"2029-11-01T00:00:00Z"}"#
            #expect(try await refused("acme", years) == "422 too_many_periods")
            let half = #"{"plan":"pro","version":1,"from":"2026-11-01T00:00:00Z"}"#
            #expect(try await refused("acme", half) == "400 validation_failed")
            let narrow = try await server.client([.invoicesRead])
            #expect(try await refused("acme", #"{"plan":"pro","version":1}"#, as: narrow) == "403 insufficient_scope")
        }
    }

    /// Whether so many come to wait for the raw log, within ten seconds.
    private static func isReached(
        waiting: Int64,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        for _ in 0..<1_000 {
            let count = try transaction.first(
                """
                SELECT count(*), pg_sleep(0.01)::text
                FROM pg_locks
                WHERE relation = 'usage_event'::regclass AND NOT granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                """
            ) { row throws(PostgresError) in try row.next(Int64.self) }
            if count == waiting { return true }
        }
        return false
    }

    /// The raw log is locked, so that the replay can only wait, for what no statement's time limit would end so soon.
    @Test func `a replay ends when its client goes`() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await Self.arrange(server)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await Self.draft(server, Self.matrix)
            let body = #"{"plan":"pro","version":2}"#
            let request = [
                "POST /api/v1/tenants/acme/what-if HTTP/1.1", "Host: x", "Content-Type: application/json",
                "Authorization: Bearer \(TestServer.operatorKey)", "Content-Length: \(body.utf8.count)", "", body,
            ].joined(separator: "\r\n")
            let port = server.port
            let pool = PostgresPool(PostgresConfiguration(url: server.database.url).asOwner(), logger: .silent)
            let (hasWaited, hasEnded) = try await pool.transaction(.worker) { transaction in
                try transaction.execute("LOCK TABLE usage_event IN ACCESS EXCLUSIVE MODE")
                var connection: RawConnection? = try RawConnection(port: port)
                try connection?.send(request)
                let hasWaited = try Self.isReached(waiting: 1, in: transaction)
                connection = nil
                return (hasWaited, try Self.isReached(waiting: 0, in: transaction))
            }
            await pool.close()
            #expect(hasWaited && hasEnded)
            #expect(try await eventually { server.log.text.contains("client_gone") })
        }
    }
}
