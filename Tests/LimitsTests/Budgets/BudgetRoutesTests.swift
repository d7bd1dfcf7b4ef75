import TestSupport
import Testing
import Web

/// `/budgets`: making, reading, changing and archiving, by operators and by tenants.
@Suite struct BudgetRoutesTests {
    private static let companyDay = """
        {"key":"company-day","scope":{},"measure":"cost","amount":"5000.00","currency":"USD","window":"day",\
        "mode":"hard","thresholds":[50,80,100]}
        """
    private static let acmeUser = """
        {"key":"acme-u9","scope":{"tenant":"acme","user":"u9"},"measure":"charge","amount":"25.00","currency":"USD",\
        "window":"month","mode":"hard"}
        """
    private static let acmeRate = """
        {"key":"acme-rpm","scope":{"tenant":"acme"},"measure":"requests",\
        "rate":{"limit":600,"period":"minute","burst":100}}
        """

    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme", zone: "Europe/Berlin")
        try await server.addTenant("beta", currency: "EUR")
        try await server.addFeature("seconds")
        try await server.addFeature("users", "unique_count", of: "user")
        try await server.publish(#"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}}]}"#)
    }

    @Test("a budget has the shape of the contract")
    func shapes() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let answer = try await server.operatorClient.post("/api/v1/budgets", Self.companyDay).expecting(201)
            #expect(answer.header("Location") == "/api/v1/budgets/company-day")
            #expect(answer.header("ETag") == "\"1\"")
            #expect(
                answer.text == """
                    {"amount":"5000.00","archived_at":null,"created_at":"2026-11-23T08:00:00.000000Z",\
                    "currency":"USD","fallback_unit_amount":null,"forecast":false,"key":"company-day",\
                    "managed_by":"operator","measure":"cost","mode":"hard","on_failure":"closed",\
                    "overrides":null,"rate":null,\
                    "scope":{},"thresholds":[50,80,100],"updated_at":"2026-11-23T08:00:00.000000Z","window":"day"}
                    """
            )
            let shown = try await server.ask("GET", "/budgets/company-day")
            #expect(
                shown["status"]?.text == """
                    {"rates":[],"truncated":false,\
                    "windows":[{"counted_since":"2026-11-23T08:00:00.000000Z","held":"0.00",\
                    "overshoot":"0.00","percent":"0","projected":null,"remaining":"5000.00","scope":{},"used":"0.00",\
                    "window":{"end":"2026-11-24T00:00:00.000000Z","kind":"day","start":"2026-11-23T00:00:00.000000Z"}}]}
                    """
            )
            let made = try await server.operatorClient.post("/api/v1/budgets", Self.acmeRate).expecting(201)
            #expect(made.header("Location") == "/api/v1/budgets/acme-rpm?tenant=acme")
            let rate = try await server.ask("GET", "/budgets/acme-rpm")
            #expect(
                rate["rate"]?.text == """
                    {"burst":100,"default_percent":95,"limit":600,"period":"minute","sheddable_percent":80}
                    """
            )
            #expect(rate["amount"] == .null && rate["window"] == .null && rate["thresholds"] == .array([]))
            #expect(rate["status"]?["windows"] == .array([]))
        }
    }

    /// A budget, and the answer that refuses it.
    @Test(
        "what a scope names must exist and fit",
        arguments: [
            (
                #""scope":{"tenant":"none"},"measure":"requests","amount":"1","window":"day""#,
                "400 validation_failed [/scope/tenant unknown_tenant]"
            ),
            (
                #""scope":{"feature":"none"},"measure":"units","amount":"1","window":"day""#,
                "400 validation_failed [/scope/feature unknown_feature]"
            ),
            (
                #""scope":{"feature":"users"},"measure":"units","amount":"1","window":"day","mode":"soft""#,
                "400 validation_failed [/scope/feature not_applicable]"
            ),
            (
                #""scope":{"feature":"users"},"measure":"charge","amount":"1","currency":"USD","window":"day""#,
                "400 validation_failed [/scope/feature not_applicable]"
            ),
            (
                #""scope":{"plan":"none"},"measure":"requests","amount":"1","window":"day""#,
                "400 validation_failed [/scope/plan unknown_plan]"
            ),
            (
                #""scope":{"tenant":"beta"},"measure":"charge","amount":"1","window":"day","currency":"USD""#,
                "400 validation_failed [/currency currency_mismatch]"
            ),
            (
                #""scope":{"tenant":"*","plan":"pro"},"measure":"charge","amount":"1","window":"day","currency":"EUR""#,
                "400 validation_failed [/currency currency_mismatch]"
            ),
        ]
    )
    func scopesAreResolved(members: String, expected: String) async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let answer = try await server.operatorClient.post("/api/v1/budgets", #"{"key":"b",\#(members)}"#)
            let faults = (answer.json["errors"]?.elements ?? []).map { fault in
                "\(fault["pointer"]?.string ?? "") \(fault["code"]?.string ?? "")"
            }
            #expect("\(answer.status) \(answer.code ?? "") [\(faults.joined(separator: ", "))]" == expected)
            #expect(try await server.ask("GET", "/budgets")["data"] == .array([]))
        }
    }

    @Test("a change raises the revision, a stale one is refused, and what is counted stays")
    func changes() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ask("POST", "/budgets", Self.acmeUser, expecting: 201)
            let client = server.operatorClient
            let path = "/api/v1/budgets/acme-u9"
            let taken = try await client.post("/api/v1/budgets", Self.acmeUser)
            #expect(taken.status == 409 && taken.code == "budget_exists" && taken.pointers == ["/key"])
            let change = #"{"amount":"30","mode":"soft","thresholds":[90],"forecast":true,"on_failure":"open"}"#
            let changed = try await client.patch(path, change, headers: ["If-Match": "\"1\""]).expecting(200)
            #expect(changed.header("ETag") == "\"2\"")
            #expect(changed.json["amount"]?.string == "30.00" && changed.json["forecast"]?.bool == true)
            #expect(try await client.get(path).header("ETag") == "\"2\"")
            let stale = try await client.patch(path, #"{"amount":"31"}"#, headers: ["If-Match": "\"1\""])
            #expect(stale.status == 412)
            let same = try await client.patch(path, change).expecting(200)
            #expect(same.header("ETag") == "\"2\"")
            let fixed = try await client.patch(path, #"{"scope":{},"window":"day"}"#)
            #expect(fixed.status == 400 && Set(fixed.pointers) == ["/scope", "/window"])
            let other = try await client.patch(path, #"{"rate":{"limit":1}}"#)
            #expect(other.status == 400 && other.pointers == ["/rate"])
            let absent = try await client.patch("/api/v1/budgets/none", #"{"amount":"1"}"#)
            #expect(absent.status == 404 && absent.code == "budget_not_found")
        }
    }

    @Test("an archived budget is shown where it is asked for, never changes, and keeps its key")
    func archiving() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ask("POST", "/budgets", Self.acmeUser, expecting: 201)
            let client = server.operatorClient
            let path = "/api/v1/budgets/acme-u9"
            #expect(try await client.delete(path, headers: ["If-Match": "\"7\""]).status == 412)
            for _ in 0..<2 { try await client.delete(path).expecting(204) }
            let shown = try await client.get(path).expecting(200)
            #expect(shown.header("ETag") == "\"2\"")
            #expect(shown.json["archived_at"]?.string == "2026-11-23T08:00:00.000000Z")
            #expect(shown.json["status"]?["windows"] == .array([]))
            #expect(try await server.ask("GET", "/budgets")["data"] == .array([]))
            #expect(try await server.ask("GET", "/budgets?include_archived=true")["data"]?.elements?.count == 1)
            let changed = try await client.patch(path, #"{"amount":"1"}"#)
            #expect(changed.status == 409 && changed.code == "budget_archived")
            let again = try await client.post("/api/v1/budgets", Self.acmeUser)
            #expect(again.status == 409 && again.code == "budget_exists")
            #expect(again.json["detail"]?.string?.contains("archived") == true)
        }
    }

    @Test("lists are narrowed by tenant and measure, and their pages tile them")
    func lists() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            for body in [Self.companyDay, Self.acmeUser, Self.acmeRate] {
                try await server.ask("POST", "/budgets", body, expecting: 201)
            }
            let beta = #"{"key":"acme-u9","scope":{"tenant":"beta"},"measure":"requests","amount":"1","window":"day"}"#
            try await server.ask("POST", "/budgets", beta, expecting: 201)
            func keys(_ query: String) async throws -> [String] {
                let page = try await server.ask("GET", "/budgets\(query)")
                return (page["data"]?.elements ?? []).map { budget in
                    "\(budget["scope"]?["tenant"]?.string ?? "-")/\(budget["key"]?.string ?? "")"
                }
            }
            let all = ["acme/acme-rpm", "acme/acme-u9", "beta/acme-u9", "-/company-day"]
            #expect(try await keys("") == all)
            #expect(try await keys("?tenant=acme") == ["acme/acme-rpm", "acme/acme-u9"])
            #expect(try await keys("?measure=requests") == ["acme/acme-rpm", "beta/acme-u9"])
            #expect(try await keys("?tenant=beta&measure=cost") == [])
            #expect(try await server.operatorClient.get("/api/v1/budgets?tenant=none").status == 404)
            #expect(try await server.operatorClient.get("/api/v1/budgets?measure=love").pointers == ["?measure"])
            var paged: [String] = []
            var cursor: String? = ""
            while let at = cursor, paged.count < 9 {
                let page = try await server.ask("GET", "/budgets?limit=1\(at.isEmpty ? "" : "&cursor=\(at)")")
                for budget in page["data"]?.elements ?? [] {
                    paged.append("\(budget["scope"]?["tenant"]?.string ?? "-")/\(budget["key"]?.string ?? "")")
                }
                cursor = page["next_cursor"]?.string
            }
            #expect(paged == all)
        }
    }

    @Test("of the plans that there are a tenant's own budgets tell nothing but which it is subscribed to")
    func plansOfOthers() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.publish(#"{"charges":[]}"#, as: "secret")
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let own = try await server.client([.budgetsWrite], tenant: "acme")
            func make(_ plan: String, by client: TestClient) async throws -> String {
                let scope = #"{"tenant":"acme","user":"*","plan":"\#(plan)"}"#
                let body = #"{"key":"on-\#(plan)","scope":\#(scope),"measure":"requests","amount":"1","window":"day"}"#
                let answer = try await client.post("/api/v1/budgets", body)
                let detail = answer.json["errors"]?[0]?["detail"]?.string ?? ""
                return "\(answer.status) \(detail.replacing("\"\(plan)\"", with: "it"))"
            }
            let refused = try await make("secret", by: own)
            #expect(try await refused == make("none", by: own))
            #expect(refused == #"400 no subscription of "acme" is on a plan it"#)
            #expect(try await make("pro", by: own) == "201 ")
            #expect(try await make("secret", by: server.operatorClient) == "201 ")
        }
    }

    @Test("a key is a tenant's own; an operator says whose is meant")
    func keysBelongToTenants() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let client = server.operatorClient
            func body(_ scope: String) -> String {
                #"{"key":"daily","scope":\#(scope),"measure":"requests","amount":"1","window":"day"}"#
            }
            let own = try await server.client([.budgetsRead, .budgetsWrite], tenant: "acme")
            try await own.post("/api/v1/budgets", body("{}")).expecting(201)
            // One that a tenant made is found while nobody else has the key, and never hides the operator's.
            #expect(try await client.get("/api/v1/budgets/daily").json["managed_by"]?.string == "tenant")
            try await client.post("/api/v1/budgets", body(#"{"tenant":"beta"}"#)).expecting(201)
            #expect(try await client.get("/api/v1/budgets/daily").json["scope"]?["tenant"]?.string == "beta")
            #expect(try await client.get("/api/v1/budgets/daily?tenant=acme").json["managed_by"]?.string == "tenant")
            try await server.addTenant("gamma")
            try await client.post("/api/v1/budgets", body(#"{"tenant":"gamma"}"#)).expecting(201)
            let ambiguous = try await client.patch("/api/v1/budgets/daily", #"{"amount":"2"}"#)
            #expect(ambiguous.status == 409 && ambiguous.code == "ambiguous_key")
            try await client.patch("/api/v1/budgets/daily?tenant=gamma", #"{"amount":"2"}"#).expecting(200)
            #expect(try await client.get("/api/v1/budgets/daily?tenant=gamma").json["amount"]?.string == "2")
            #expect(try await client.get("/api/v1/budgets/daily?tenant=beta").json["amount"]?.string == "1")
            try await client.post("/api/v1/budgets", body("{}")).expecting(201)
            #expect(try await client.get("/api/v1/budgets/daily").json["scope"] == .object([]))
            // Once that is archived it hides nothing that is in force.
            try await client.delete("/api/v1/budgets/daily").expecting(204)
            #expect(try await client.delete("/api/v1/budgets/daily").code == "ambiguous_key")
            for tenant in ["beta", "gamma", "acme"] {
                try await client.delete("/api/v1/budgets/daily?tenant=\(tenant)").expecting(204)
            }
            #expect(try await client.get("/api/v1/budgets/daily").json["scope"] == .object([]))
        }
    }

    @Test("a DELETE that is repeated archives no other budget of the key: an operator says whose is meant")
    func archivingAgain() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let client = server.operatorClient
            let path = "/api/v1/budgets/daily"
            let budget = #"{"key":"daily","scope":{},"measure":"requests","amount":"1","window":"day"}"#
            try await client.post("/api/v1/budgets", budget).expecting(201)
            for _ in 0..<2 { try await client.delete(path).expecting(204) }
            let acme = try await server.client([.budgetsRead, .budgetsWrite], tenant: "acme")
            try await acme.post("/api/v1/budgets", budget).expecting(201)
            for refused in [try await client.delete(path), try await client.patch(path, #"{"amount":"2"}"#)] {
                #expect(refused.status == 409 && refused.code == "ambiguous_key", "\(refused)")
            }
            let kept = try await acme.get(path).expecting(200)
            #expect(kept.header("ETag") == "\"1\"" && kept.json["archived_at"] == .null)
            // It is the only one that is in force: reading finds it.
            #expect(try await client.get(path).json["managed_by"]?.string == "tenant")
            for _ in 0..<2 { try await client.delete("\(path)?tenant=acme").expecting(204) }
            #expect(try await acme.get(path).json["archived_at"]?.string == "2026-11-23T08:00:00.000000Z")
            try await client.delete(path).expecting(204)
        }
    }

    @Test("a tenant sees and makes budgets within itself, without costs, and only reads the operator's")
    func tenantsView() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let cost = """
                {"key":"acme-cost","scope":{"tenant":"acme"},"measure":"cost","amount":"9","currency":"USD",\
                "window":"day"}
                """
            let each = #"{"key":"each","scope":{"tenant":"*"},"measure":"requests","amount":"1","window":"day"}"#
            for body in [Self.companyDay, Self.acmeUser, cost, each] {
                try await server.ask("POST", "/budgets", body, expecting: 201)
            }
            let acme = try await server.client([.budgetsRead, .budgetsWrite], tenant: "acme")
            let listed = try await acme.get("/api/v1/budgets?limit=500").expecting(200)
            #expect(listed.json["data"]?.elements?.compactMap { $0["key"]?.string } == ["acme-u9"])
            for key in ["acme-cost", "company-day", "each", "none"] {
                for path in ["/api/v1/budgets/\(key)", "/api/v1/budgets/\(key)/status"] {
                    let hidden = try await acme.get(path)
                    #expect(hidden.status == 404 && hidden.code == "budget_not_found", "\(path)")
                }
                #expect(try await acme.delete("/api/v1/budgets/\(key)").status == 404)
            }
            #expect(try await acme.get("/api/v1/budgets?measure=cost").json["data"] == .array([]))
            let auditor = try await server.client([.auditRead], tenant: "acme")
            for path in ["/api/v1/audit-log?limit=100", "/api/v1/audit-log/export?format=ndjson"] {
                let log = try await auditor.get(path).expecting(200).text
                #expect(log.contains("acme-u9") && !log.contains("acme-cost"), "\(path)")
            }
            for answer in [
                try await acme.patch("/api/v1/budgets/acme-u9", #"{"amount":"1000"}"#),
                try await acme.delete("/api/v1/budgets/acme-u9"),
            ] {
                #expect(answer.status == 403 && answer.code == "managed_by_operator")
            }
            let own = #"{"key":"own","scope":{"user":"*"},"measure":"requests","amount":"10","window":"day"}"#
            let made = try await acme.post("/api/v1/budgets", own).expecting(201)
            #expect(made.json["scope"]?.text == #"{"tenant":"acme","user":"*"}"#)
            #expect(made.json["managed_by"]?.string == "tenant")
            try await acme.patch("/api/v1/budgets/own", #"{"amount":"20"}"#).expecting(200)
            try await acme.delete("/api/v1/budgets/own").expecting(204)
            let foreign = #"{"key":"x","scope":{"tenant":"beta"},"measure":"requests","amount":"1","window":"day"}"#
            let refused = try await acme.post("/api/v1/budgets", foreign)
            #expect(refused.status == 400 && refused.pointers == ["/scope/tenant"])
            let period = #"{"key":"period","scope":{},"measure":"requests","amount":"1","window":"billing_period"}"#
            let ownPeriod = try await acme.post("/api/v1/budgets", period).expecting(201)
            #expect(ownPeriod.json["scope"]?.text == #"{"tenant":"acme"}"#)
            for body in [each, cost.replacing("acme-cost", with: "mine")] {
                let refused = try await acme.post("/api/v1/budgets", body)
                #expect(refused.status == 403 && refused.code == "operator_only", "\(body)")
                let namesMeasure = refused.json["detail"]?.string?.contains("\"measure\"") == true
                #expect(namesMeasure == (body != each), "\(refused.text)")
            }
        }
    }

    @Test("a tenant makes a hundred budgets of its own at most; those of the operator do not count")
    func howMany() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ask("POST", "/budgets", Self.acmeUser, expecting: 201)
            let acme = try await server.client([.budgetsWrite], tenant: "acme")
            func make(_ number: Int) async throws -> TestResponse {
                let body = #"{"key":"b\#(number)","scope":{},"measure":"requests","amount":"1","window":"day"}"#
                return try await acme.post("/api/v1/budgets", body)
            }
            for number in 1...100 { try await make(number).expecting(201) }
            #expect(try await make(101).expecting(409).code == "too_many_budgets")
            try await acme.delete("/api/v1/budgets/b7").expecting(204)
            try await make(101).expecting(201)
        }
    }

    @Test("a tenant makes a thousand budgets of its own over time at most, those that it archived too")
    func howManyEver() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let acme = try await server.client([.budgetsWrite], tenant: "acme")
            func make(_ key: String) async throws -> TestResponse {
                let body = #"{"key":"\#(key)","scope":{},"measure":"requests","amount":"1","window":"day"}"#
                return try await acme.post("/api/v1/budgets", body)
            }
            try await make("first").expecting(201)
            try await server.database.run(
                """
                INSERT INTO budget
                SELECT (jsonb_populate_record(
                    budget, jsonb_build_object('limit_id', 1000000 + number, 'key', 'gone-' || number,
                        'archived_at', budget.created_at)
                )).*
                FROM budget CROSS JOIN generate_series(1, 998) AS number
                """
            )
            try await make("last").expecting(201)
            try await acme.delete("/api/v1/budgets/first").expecting(204)
            let refused = try await make("more").expecting(409)
            #expect(refused.code == "too_many_budgets")
            #expect(refused.json["detail"]?.string?.contains("1000 budgets, archived ones too") == true, "\(refused)")
            // What is in force changes on, and the operator makes more for the tenant.
            try await acme.patch("/api/v1/budgets/last", #"{"amount":"2"}"#).expecting(200)
            try await server.ask("POST", "/budgets", Self.acmeUser, expecting: 201)
            #expect(try await make("more").status == 409)
        }
    }

    @Test("ten of a tenant's own budgets may have rows for each user or model; the operator makes more for it")
    func howManyDivided() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let acme = try await server.client([.budgetsWrite], tenant: "acme")
            func make(_ number: Int, as client: TestClient, _ scope: String) async throws -> TestResponse {
                let body =
                    #"{"key":"d\#(number)","scope":{\#(scope)},"measure":"requests","amount":"1","window":"day"}"#
                return try await client.post("/api/v1/budgets", body)
            }
            for number in 1...10 {
                let scope = number.isMultiple(of: 2) ? #""user":"*""# : #""model":"*""#
                try await make(number, as: acme, scope).expecting(201)
            }
            #expect(try await make(11, as: acme, #""user":"*""#).expecting(409).code == "too_many_budgets")
            try await make(11, as: acme, #""user":"u1""#).expecting(201)
            try await make(12, as: server.operatorClient, #""tenant":"acme","user":"*""#).expecting(201)
            try await acme.delete("/api/v1/budgets/d3").expecting(204)
            try await make(13, as: acme, #""user":"*""#).expecting(201)
        }
    }

    @Test("a feature that a budget counts can't be archived, nor a tenant's zone changed under its windows")
    func whatBudgetsNeedStays() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let client = server.operatorClient
            let units = """
                {"key":"units","scope":{"tenant":"acme","feature":"users"},"measure":"requests","amount":"5",\
                "window":"day"}
                """
            try await server.ask("POST", "/budgets", units, expecting: 201)
            let feature = try await client.delete("/api/v1/features/users")
            #expect(feature.status == 409 && feature.code == "feature_in_use")
            #expect(feature.json["detail"]?.string?.contains("budget 'units'. Archive that") == true, "\(feature)")
            let zone = try await client.patch("/api/v1/tenants/acme", #"{"timezone":"UTC"}"#)
            #expect(zone.status == 409 && zone.code == "timezone_in_use")
            let detail = zone.json["detail"]?.string ?? ""
            #expect(detail.contains("spend cap or budgets") && detail.contains("archive that"), "\(detail)")
            try await client.delete("/api/v1/budgets/units").expecting(204)
            try await client.delete("/api/v1/features/users").expecting(204)
            try await client.patch("/api/v1/tenants/acme", #"{"timezone":"UTC"}"#).expecting(200)
            try await server.ask(
                "POST",
                "/budgets",
                #"{"key":"each","scope":{"tenant":"*"},"measure":"requests","amount":"1","window":"day"}"#,
                expecting: 201
            )
            #expect(try await client.patch("/api/v1/tenants/beta", #"{"timezone":"Asia/Tokyo"}"#).status == 409)
        }
    }

    @Test("a budget that is made twice under one idempotency key is made once")
    func retriesMakeOne() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let client = server.operatorClient
            let headers = ["Idempotency-Key": "once"]
            let first = try await client.post("/api/v1/budgets", Self.acmeUser, headers: headers).expecting(201)
            let second = try await client.post("/api/v1/budgets", Self.acmeUser, headers: headers).expecting(201)
            #expect(second.header("Idempotency-Replayed") == "true" && first.text == second.text)
        }
    }
}
