import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// Changing plans, resuming, trials and overrides of a subscription.
@Suite struct SubscriptionChangeTests {
    /// Publishes `pro` (per unit 0.01, 100 tokens) and `max` (per unit 0.02, 900 tokens) and subscribes to `pro`.
    private static func arrange(_ server: TestServer, _ more: String = "") async throws -> String {
        try await server.arrange()
        try await server.publish(limit: "100")
        for (plan, currency) in [("max", "USD"), ("euro", "EUR")] {
            let body = #"{"key":"\#(plan)","name":"Max","currency":"\#(currency)"}"#
            _ = try await server.expect(201, "POST", "/plans", body)
            _ = try await server.expect(201, "POST", "/plans/\(plan)/versions", version)
            _ = try await server.expect(200, "POST", "/plans/\(plan)/versions/1/publish")
        }
        let body = #"{"tenant":"acme","plan":"pro"\#(more)}"#
        let made = try await server.expect(201, "POST", "/subscriptions", body)
        return try #require(made.json["id"]?.string)
    }

    private static let version = """
        {"fees":[{"key":"base","name":"Base","amount":"30"}],
         "charges":[{"feature":"tokens","price":{"model":"per_unit","unit_amount":"0.02"}}],
         "quotas":[{"feature":"tokens","limit":"900","window":"billing_period"}]}
        """

    private static func segments(_ answer: TestResponse) -> [String] {
        (answer.json["segments"]?.elements ?? []).map { segment in
            "\(segment["plan"]?.string ?? "?") \(segment["starts_at"]?.string?.prefix(19) ?? "?")"
        }
    }

    private static func rows(_ server: TestServer) async throws -> [String] {
        try await server.withPool { pool in
            try await pool.query(
                .worker,
                """
                SELECT 'segment ' || ordinal FROM subscription_segment
                UNION ALL SELECT 'audit ' || action FROM audit_log WHERE resource_type = 'subscription'
                UNION ALL SELECT 'ends ' || ends_at FROM subscription WHERE ends_at IS NOT NULL
                UNION ALL SELECT 'limit ' || amount || ' ' || revision FROM usage_limit
                UNION ALL SELECT 'subscription ' || revision FROM subscription
                UNION ALL SELECT 'ledger ' || catalog_version FROM tenant_ledger WHERE tenant_id > 0
                ORDER BY 1
                """
            ) { row throws(PostgresError) in try row.next(String.self) }
        }
    }

    @Test func changesNowOrWhenThePeriodEnds() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            server.clock.advance(seconds: 86_400)
            let now = try await server.expect(200, "POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
            #expect(now.json["plan"]?.string == "max")
            #expect(Self.segments(now) == ["pro 2026-11-23T08:00:00", "max 2026-11-24T08:00:00"])
            #expect(now.json["anchor"]?.string == "2026-11-23T08:00:00.000000Z")
            let later = try await server.expect(
                200,
                "POST",
                "/subscriptions/\(id)/change",
                #"{"plan":"pro","at":"period_end"}"#
            )
            #expect(later.json["plan"]?.string == "max")
            #expect(later.json["scheduled_change"]?["starts_at"]?.string == "2026-12-23T08:00:00.000000Z")
            #expect(try await server.expect(200, "GET", "/subscriptions/\(id)").json == later.json)
            server.clock.advance(seconds: 30 * 86_400)
            let then = try await server.expect(200, "GET", "/subscriptions/\(id)")
            #expect(then.json["plan"]?.string == "pro")
            #expect(then.json["scheduled_change"]?.isNull == true)
            func count(_ plan: String) async throws -> Int? {
                try await server.expect(200, "GET", "/subscriptions?plan=\(plan)").json["data"]?.elements?.count
            }
            #expect(try await count("pro") == 1)
            #expect(try await count("max") == 0)
        }
    }

    @Test func aChangeReplacesTheOnesScheduledForThenOrLater() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            for time in ["2026-12-10T00:00:00Z", "2026-12-20T00:00:00Z", "2026-12-15T00:00:00Z"] {
                let body = #"{"plan":"max","at":"\#(time)"}"#
                _ = try await server.expect(200, "POST", "/subscriptions/\(id)/change", body)
            }
            let both = try await server.expect(200, "GET", "/subscriptions/\(id)")
            #expect(
                Self.segments(both) == [
                    "pro 2026-11-23T08:00:00", "max 2026-12-10T00:00:00", "max 2026-12-15T00:00:00",
                ]
            )
            let preview = try await server.expect(
                200,
                "POST",
                "/subscriptions/\(id)/withdraw-changes",
                #"{"dry_run":true}"#
            )
            #expect(preview.json["subscription"]?["segments"]?.elements?.count == 1)
            let none = try await server.expect(200, "POST", "/subscriptions/\(id)/withdraw-changes")
            #expect(Self.segments(none) == ["pro 2026-11-23T08:00:00"])
            let again = try await server.expect(409, "POST", "/subscriptions/\(id)/withdraw-changes")
            #expect(again.code == "no_change_scheduled")
        }
    }

    @Test func refusesChangesThatCannotBe() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let path = "/subscriptions/\(id)/change"
            let faulty: [(String, [String])] = [
                ("{}", ["/plan"]), (#"{"plan":"none"}"#, ["/plan"]), (#"{"plan":"max","version":9}"#, ["/version"]),
                (#"{"plan":"max","at":"2026-11-23T07:59:59Z"}"#, ["/at"]),
                (#"{"plan":"max","at":"soon"}"#, ["/at"]),
                (
                    """
                    {"plan":"max","overrides":{"charges":[
                      {"feature":"none","price":{"model":"per_unit","unit_amount":"1"}}]}}
                    """,
                    ["/overrides/charges/0/feature"]
                ),
                (#"{"plan":"max","overrides":{"trial_days":3}}"#, ["/overrides/trial_days"]),
            ]
            for (body, pointers) in faulty {
                #expect(try await server.expect(400, "POST", path, body).pointers == pointers)
            }
            #expect(try await server.expect(409, "POST", path, #"{"plan":"euro"}"#).code == "currency_mismatch")
            _ = try await server.expect(412, "POST", path, #"{"plan":"max"}"#, headers: ["If-Match": "\"9\""])
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel", #"{"at":"2026-12-01T00:00:00Z"}"#)
            let late = try await server.expect(409, "POST", path, #"{"plan":"max","at":"2026-12-01T00:00:00Z"}"#)
            #expect(late.code == "change_after_end")
            let bound = try await server.client([.subscriptionsWrite], tenant: "acme")
            let own = #"{"plan":"max","overrides":{"minimum_commitment":"0"}}"#
            #expect(try await server.expect(403, "POST", path, own, as: bound).code == "operator_only")
            _ = try await server.expect(200, "POST", path, #"{"plan":"max"}"#, as: bound)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel")
            #expect(try await server.expect(409, "POST", path, #"{"plan":"max"}"#).code == "subscription_ended")
        }
    }

    @Test func resumingTakesBackACancellationThatHasNotTakenEffect() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            let path = "/subscriptions/\(id)/resume"
            #expect(try await server.expect(409, "POST", path).code == "subscription_not_cancelled")
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel", #"{"at":"period_end"}"#)
            let next = #"{"tenant":"acme","plan":"max","starts_at":"2026-12-23T08:00:00Z"}"#
            let other = try await server.expect(201, "POST", "/subscriptions", next).json["id"]?.string ?? ""
            #expect(try await server.expect(409, "POST", path).code == "subscription_overlaps")
            _ = try await server.expect(200, "POST", "/subscriptions/\(other)/cancel")
            let resumed = try await server.expect(200, "POST", path)
            #expect(resumed.json["ends_at"]?.isNull == true)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel")
            #expect(try await server.expect(409, "POST", path).code == "subscription_ended")
        }
    }

    @Test func aTrialDelaysTheAnchor() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server, #","trial_days":14"#)
            let trial = try await server.expect(200, "GET", "/subscriptions/\(id)")
            #expect(trial.json["status"]?.string == "trialing")
            #expect(trial.json["anchor"]?.string == "2026-12-07T08:00:00.000000Z")
            #expect(trial.json["trial_ends_at"] == trial.json["anchor"])
            #expect(trial.json["current_period"]?["start"]?.string == "2026-11-23T08:00:00.000000Z")
            #expect(trial.json["current_period"]?["end"]?.string == "2026-12-07T08:00:00.000000Z")
            // A change does not move it.
            let changed = try await server.expect(200, "POST", "/subscriptions/\(id)/change", #"{"plan":"max"}"#)
            #expect(changed.json["anchor"] == trial.json["anchor"])
            server.clock.set(try Instant(parsing: "2026-12-07T08:00:00Z"))
            let after = try await server.expect(200, "GET", "/subscriptions/\(id)")
            #expect(after.json["status"]?.string == "active")
            #expect(after.json["current_period"]?["end"]?.string == "2027-01-07T08:00:00.000000Z")
        }
    }

    @Test func aTenantsOwnCredentialHasATrialOnce() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server, #","trial_days":14"#)
            _ = try await server.expect(201, "POST", "/plans/max/versions", #"{"trial_days":14}"#)
            _ = try await server.expect(200, "POST", "/plans/max/versions/2/publish")
            let bound = try await server.client([.subscriptionsWrite], tenant: "acme")
            server.clock.advance(seconds: 13 * 86_400)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel", as: bound)
            let body = #"{"tenant":"acme","plan":"max","dry_run":true}"#
            let again = try await server.expect(200, "POST", "/subscriptions", body, as: bound)
            #expect(again.json["subscription"]?["trial_ends_at"]?.isNull == true)
            let given = try await server.expect(200, "POST", "/subscriptions", body)
            #expect(given.json["subscription"]?["trial_ends_at"]?.string == "2026-12-20T08:00:00.000000Z")
        }
    }

    @Test func aTrialThatNeverBeganIsNone() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            _ = try await server.expect(201, "POST", "/plans/pro/versions", #"{"trial_days":14}"#)
            _ = try await server.expect(200, "POST", "/plans/pro/versions/2/publish")
            let bound = try await server.client([.subscriptionsWrite], tenant: "acme")
            let later = #"{"tenant":"acme","plan":"pro","starts_at":"2026-12-01T00:00:00Z"}"#
            for _ in 0..<2 {
                let made = try await server.expect(201, "POST", "/subscriptions", later, as: bound)
                #expect(made.json["trial_ends_at"]?.string == "2026-12-15T00:00:00.000000Z")
                let id = made.json["id"]?.string ?? ""
                _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel", as: bound)
            }
        }
    }

    @Test func aTenantHasAThousandSubscriptionsAtMost() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel")
            try await server.database.run(
                """
                WITH made AS (
                    INSERT INTO subscription (tenant_id, subscription_id, plan_version_id, timezone, anchor, starts_at,
                        ends_at, created_at, updated_at, revision)
                    SELECT tenant_id, gen_random_uuid(), plan_version_id, timezone, anchor, starts_at, starts_at,
                        created_at, updated_at, 1
                    FROM subscription CROSS JOIN generate_series(1, 998)
                    RETURNING subscription_id
                )
                INSERT INTO subscription_segment
                SELECT (jsonb_populate_record(
                    segment, jsonb_build_object('subscription_id', made.subscription_id)
                )).*
                FROM made CROSS JOIN subscription_segment AS segment
                """
            )
            let body = #"{"tenant":"acme","plan":"pro","starts_at":"2027-01-01T00:00:00Z"}"#
            let last = try await server.expect(201, "POST", "/subscriptions", body).json["id"]?.string ?? ""
            _ = try await server.expect(200, "POST", "/subscriptions/\(last)/cancel")
            #expect(try await server.expect(409, "POST", "/subscriptions", body).code == "too_many_subscriptions")
        }
    }

    @Test func aPlanVersionHasATrialOfItsOwn() async throws {
        try await TestServer.run(clock: TestClock("2026-03-20T12:00:00Z")) { server in
            _ = try await Self.arrange(server)
            _ = try await server.expect(
                201,
                "POST",
                "/tenants",
                #"{"key":"beta","name":"B","currency":"USD","timezone":"Europe/Berlin"}"#
            )
            _ = try await server.expect(201, "POST", "/plans/max/versions", #"{"trial_days":14}"#)
            _ = try await server.expect(200, "POST", "/plans/max/versions/2/publish")
            let made = try await server.expect(201, "POST", "/subscriptions", #"{"tenant":"beta","plan":"max"}"#)
            // Over the change to daylight saving time it is the same time of day.
            #expect(made.json["anchor"]?.string == "2026-04-03T11:00:00.000000Z")
            let id = made.json["id"]?.string ?? ""
            let ended = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel", #"{"at":"period_end"}"#)
            #expect(ended.json["ends_at"]?.string == "2026-04-03T11:00:00.000000Z")
            let none = #"{"tenant":"beta","plan":"max","starts_at":"2026-05-01T00:00:00Z","trial_days":0}"#
            let without = try await server.expect(201, "POST", "/subscriptions", none)
            #expect(without.json["trial_ends_at"]?.isNull == true)
        }
    }

    @Test func overridesStandInPlaceOfThePlan() async throws {
        try await TestServer.run { server in
            let overrides = """
                ,"overrides":{"charges":[{"feature":"tokens","price":{"model":"per_unit","unit_amount":"0.5"}}],
                  "quotas":[{"feature":"tokens","limit":"7","window":"billing_period"},
                            {"feature":"tokens","limit":"3","window":"day"}],"minimum_commitment":"12"}
                """
            let id = try await Self.arrange(server, overrides)
            let shown = try await server.expect(200, "GET", "/subscriptions/\(id)")
            let own = shown.json["segments"]?.elements?.first?["overrides"]
            #expect(own?["minimum_commitment"]?.string == "12")
            #expect(own?["charges"]?.elements?.count == 1)
            for (window, limit) in [("billing_period", "7"), ("day", "3")] {
                let quota = try await server.expect(200, "GET", "/tenants/acme/quotas/tokens?window=\(window)")
                #expect(quota.json["limit"]?.string == limit)
            }
            let event = SentEvent("1", type: "llm.completion", data: #"{"output_tokens":10}"#)
            try await server.ingest(event)
            #expect(try await server.invoiced() == ["tokens 10 = 5.00"])
            let archived = try await server.expect(409, "DELETE", "/features/tokens")
            #expect(archived.code == "feature_in_use")
            // Those of the segment before do not live on.
            server.clock.advance(seconds: 1)
            _ = try await server.expect(200, "POST", "/subscriptions/\(id)/change", #"{"plan":"pro"}"#)
            let after = try await server.expect(200, "GET", "/tenants/acme/quotas/tokens")
            #expect(after.json["limit"]?.string == "100")
            #expect(after.json["window"]?["kind"]?.string == "billing_period")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aDryRunSaysWhatWouldComeAndStoresNothing() async throws {
        try await TestServer.run { server in
            let id = try await Self.arrange(server)
            server.clock.advance(seconds: 15 * 86_400)
            let before = try await Self.rows(server)
            let dry: [(String, String)] = [
                ("/subscriptions/\(id)/change", #"{"plan":"max","dry_run":true}"#),
                ("/subscriptions/\(id)/change", #"{"plan":"max","at":"period_end","dry_run":true}"#),
                ("/subscriptions/\(id)/cancel", #"{"at":"now","dry_run":true}"#),
            ]
            for (path, body) in dry {
                let key = ["Idempotency-Key": "once"]
                let preview = try await server.expect(200, "POST", path, body, headers: key)
                #expect(preview.json["dry_run"] == .bool(true))
                #expect(try await Self.rows(server) == before)
            }
            let preview = try await server.expect(200, "POST", dry[0].0, dry[0].1)
            #expect(preview.json["effective_at"]?.string == "2026-12-08T08:00:00.000000Z")
            #expect(preview.json["subscription"]?["plan"]?.string == "max")
            let parts = preview.json["period"]?["segments"]?.elements ?? []
            let fractions = parts.map { part in
                "\(part["fraction"]?["numerator"]?.number ?? "?")/\(part["fraction"]?["denominator"]?.number ?? "?")"
            }
            #expect(fractions == ["1/2", "1/2"])
            // From 23 November to 23 December is 30 days; the fee in advance of the next period is the new plan's.
            #expect(preview.json["upcoming_invoice"]?["before"]?["total"]?.string == "0.00")
            #expect(preview.json["upcoming_invoice"]?["after"]?["total"]?.string == "30.00")
            #expect(preview.json["invoices_due"]?.isNull == true)
            let real = try await server.expect(200, "POST", dry[0].0, #"{"plan":"max"}"#)
            #expect(real.json == preview.json["subscription"])
        }
    }

    @Test func aDryRunOfASubscriptionInThePastTellsTheInvoicesThatAreDue() async throws {
        try await TestServer.run { server in
            _ = try await Self.arrange(server)
            _ = try await server.expect(201, "POST", "/tenants", #"{"key":"beta","name":"B","currency":"USD"}"#)
            func due(_ start: String) async throws -> [String] {
                let body = #"{"tenant":"beta","plan":"max","starts_at":"\#(start)","dry_run":true}"#
                let preview = try await server.expect(200, "POST", "/subscriptions", body)
                return (preview.json["invoices_due"]?.elements ?? []).map {
                    "\($0["invoice_kind"]?.string ?? "") \($0["period"]?["start"]?.string?.prefix(10) ?? "")"
                }
            }
            #expect(try await due("2026-12-01T00:00:00Z") == [])
            #expect(try await due("2026-11-20T00:00:00Z") == ["opening 2026-11-20"])
            #expect(
                try await due("2026-09-20T00:00:00Z") == [
                    "opening 2026-09-20", "regular 2026-09-20", "regular 2026-10-20",
                ]
            )
        }
    }

    @Test func aDryRunOfASubscriptionIsRefusedAsTheRealOneWouldBe() async throws {
        try await TestServer.run { server in
            _ = try await Self.arrange(server)
            let clash = #"{"tenant":"acme","plan":"max","dry_run":true}"#
            #expect(try await server.expect(409, "POST", "/subscriptions", clash).code == "subscription_overlaps")
            _ = try await server.expect(201, "POST", "/tenants", #"{"key":"beta","name":"B","currency":"USD"}"#)
            let before = try await Self.rows(server)
            let dry = #"{"tenant":"beta","plan":"max","trial_days":7,"dry_run":true}"#
            let preview = try await server.expect(200, "POST", "/subscriptions", dry)
            #expect(preview.json["period"]?["is_trial"] == .bool(true))
            #expect(preview.json["upcoming_invoice"]?["before"]?.isNull == true)
            #expect(preview.json["upcoming_invoice"]?["after"]?["invoice_kind"]?.string == "opening")
            #expect(try await Self.rows(server) == before)
            _ = try await server.expect(201, "POST", "/subscriptions", #"{"tenant":"beta","plan":"max"}"#)
        }
    }
}
