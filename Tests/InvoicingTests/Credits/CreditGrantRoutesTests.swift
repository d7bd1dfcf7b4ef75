import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@Suite(.timeLimit(.minutes(15)))
struct CreditGrantRoutesTests {
    private static let path = "/api/v1/tenants/acme/credit-grants"

    @Test func `a credit is shown as it was given, with what invoices used of it and which did`() async throws {
        try await CreditStory.run { server in
            let id = try await server.grant(
                #"{"name":"Welcome","kind":"promotional","amount":"150.00","currency":"USD","priority":3}"#
            )
            try await server.closeInvoices(at: "2026-11-01T00:00:00Z")
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            let grant = try await server.operatorClient.get("\(Self.path)/\(id)").expecting(200)
            #expect(grant.json["used"]?.string == "150.00")
            #expect(grant.json["remaining"]?.string == "0.00")
            #expect(grant.json["status"]?.string == "used")
            #expect(grant.json["priority"]?.number == "3")
            #expect(grant.json["origin"]?["type"]?.string == "api")
            #expect(grant.header("ETag") == "\"3\"")
            let first = try await server.ask("GET", "/tenants/acme/credit-grants/\(id)/applications?limit=1")
            let cursor = first["next_cursor"]?.string ?? ""
            let second = try await server.ask(
                "GET",
                "/tenants/acme/credit-grants/\(id)/applications?limit=1&cursor=\(cursor)"
            )
            let uses = [first, second].flatMap { $0["data"]?.elements ?? [] }
            #expect(uses.map { $0["invoice_number"]?.string } == ["INV-00000001", "INV-00000002"])
            #expect(uses.map { $0["amount"]?.string } == ["100.00", "50.00"])
            #expect(second["next_cursor"]?.isNull == true)
            #expect(try await server.audited("credit_grant") == ["credit_grant.created"])
        }
    }

    @Test func `faults of a new credit are pointed at, all of them`() async throws {
        try await CreditStory.run(currency: "JPY") { server in
            let faulty = [
                (#"{}"#, ["/kind", "/name", "/amount"]),
                (#"{"name":"x","kind":"gift","amount":"1"}"#, ["/kind"]),
                (#"{"name":"x","kind":"prepaid","amount":"0"}"#, ["/amount"]),
                (#"{"name":"x","kind":"prepaid","amount":"-1"}"#, ["/amount"]),
                (#"{"name":"x","kind":"prepaid","amount":"1.5"}"#, ["/amount"]),
                (#"{"name":"x","kind":"prepaid","amount":1}"#, ["/amount"]),
                (#"{"name":"x","kind":"prepaid","amount":"1","currency":"USD"}"#, ["/currency"]),
                (#"{"name":"x","kind":"prepaid","amount":"1","priority":1001}"#, ["/priority"]),
                (#"{"name":"x","kind":"prepaid","amount":"1","expires_at":"2026-11-01T00:00:00Z"}"#, ["/expires_at"]),
                (#"{"name":"x","kind":"prepaid","amount":"1","remaining":"5"}"#, ["/remaining"]),
            ]
            for (body, pointers) in faulty {
                let answer = try await server.operatorClient.post(Self.path, body)
                #expect(answer.status == 400, "\(body): \(answer)")
                #expect(answer.pointers == pointers, "\(body): \(answer)")
            }
            let absent = try await server.operatorClient.post("/api/v1/tenants/none/credit-grants", #"{"name":"x"}"#)
            #expect(absent.code == "tenant_not_found")
            #expect(try await server.column("SELECT name FROM credit_grant") == [])
        }
    }

    @Test func `lists narrow by kind and status, page by page`() async throws {
        try await CreditStory.run { server in
            let used = try await server.grant(#"{"name":"a","kind":"promotional","amount":"5"}"#)
            try await server.closeInvoices(at: "2026-11-01T01:00:00Z")
            let expired = try await server.grant(
                #"{"name":"b","kind":"promotional","amount":"5","expires_at":"2026-11-02T00:00:00Z"}"#
            )
            let active = try await server.grant(#"{"name":"c","kind":"prepaid","amount":"5"}"#)
            let void = try await server.grant(#"{"name":"d","kind":"prepaid","amount":"5"}"#)
            try await server.ask("POST", "/tenants/acme/credit-grants/\(void)/void")
            server.clock.advance(seconds: 86_400)
            let expected = [
                ("status=used", [used]), ("status=expired", [expired]), ("status=active", [active]),
                ("status=void", [void]), ("kind=prepaid", [active, void]), ("kind=prepaid&status=active", [active]),
                ("", [used, expired, active, void]),
            ]
            for (query, ids) in expected {
                var found: [String?] = []
                var cursor = ""
                repeat {
                    let page = try await server.ask("GET", "/tenants/acme/credit-grants?limit=1&\(query)\(cursor)")
                    found += (page["data"]?.elements ?? []).map { $0["id"]?.string }
                    cursor = page["next_cursor"]?.string.map { "&cursor=\($0)" } ?? ""
                } while !cursor.isEmpty && found.count < 10
                #expect(found == ids, "\(query)")
            }
            let lapsed = try await server.ask("GET", "/tenants/acme/credit-grants/\(expired)")
            #expect(lapsed["remaining"]?.string == "0.00")
            #expect(lapsed["used"]?.string == "0.00")
        }
    }

    @Test func `voiding takes what is left, once, and no invoice uses it any more`() async throws {
        try await CreditStory.run { server in
            let id = try await server.grant(#"{"name":"a","kind":"prepaid","amount":"130"}"#)
            try await server.closeInvoices(at: "2026-11-01T00:00:00Z")
            let path = "\(Self.path)/\(id)/void"
            let stale = try await server.operatorClient.post(path, headers: ["If-Match": "\"1\""])
            #expect(stale.status == 412)
            let voided = try await server.operatorClient.post(path, headers: ["If-Match": "\"2\""]).expecting(200)
            #expect(voided.header("ETag") == "\"3\"")
            #expect(voided.json["status"]?.string == "void")
            #expect(voided.json["used"]?.string == "100.00")
            #expect(voided.json["remaining"]?.string == "0.00")
            #expect(try await server.operatorClient.post(path).code == "credit_grant_voided")
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            let due = try await server.column("SELECT round(amount_due)::text FROM invoice_document ORDER BY sequence")
            #expect(due == ["0", "100"])
            #expect(try await server.audited("credit_grant") == ["credit_grant.created", "credit_grant.voided"])
            let spent = try await server.grant(#"{"name":"b","kind":"prepaid","amount":"1"}"#)
            try await server.closeInvoices(at: "2027-01-01T00:00:00Z")
            let refused = try await server.operatorClient.post("\(Self.path)/\(spent)/void")
            #expect(refused.status == 409)
            #expect(refused.code == "credit_grant_used")
        }
    }

    @Test func `a repeated request under one key gives one credit`() async throws {
        try await CreditStory.run { server in
            let body = #"{"name":"a","kind":"prepaid","amount":"5"}"#
            let first = try await server.operatorClient.post(Self.path, body, headers: ["Idempotency-Key": "k"])
            let again = try await server.operatorClient.post(Self.path, body, headers: ["Idempotency-Key": "k"])
            #expect(first.status == 201)
            #expect(again.header("Idempotency-Replayed") == "true")
            #expect(first.body == again.body)
            #expect(try await server.column("SELECT name FROM credit_grant").count == 1)
            #expect(first.header("Location") == "\(Self.path)/\(first.json["id"]?.string ?? "")")
        }
    }

    @Test func `a tenant reads its own credits and gives itself none`() async throws {
        try await CreditStory.run { server in
            let id = try await server.grant(#"{"name":"a","kind":"prepaid","amount":"5"}"#)
            let portal = try await server.client([.invoicesRead, .invoicesWrite], tenant: "acme")
            let body = #"{"name":"mine","kind":"prepaid","amount":"5"}"#
            #expect(try await portal.get("\(Self.path)/\(id)").json["amount"]?.string == "5.00")
            #expect(try await portal.get(Self.path).json["data"]?.elements?.count == 1)
            #expect(try await portal.get("\(Self.path)/\(id)/applications").status == 200)
            #expect(try await portal.post(Self.path, body).code == "operator_only")
            #expect(try await portal.post("\(Self.path)/\(id)/void").code == "operator_only")
            let reader = try await server.client([.invoicesRead])
            #expect(try await reader.post(Self.path, body).code == "insufficient_scope")
            #expect(try await server.column("SELECT name FROM credit_grant") == ["a"])
        }
    }

    @Test func `no more credits than an invoice may read`() async throws {
        try await CreditStory.run { server in
            try await server.database.run(
                """
                INSERT INTO credit_grant (tenant_id, credit_grant_id, kind, name, currency, amount, remaining, priority,
                    origin, created_at, updated_at, revision)
                SELECT tenant_id, gen_random_uuid(), 'prepaid', 'many', 'USD', 1, 1, 0, 'api', now(), now(), 1
                FROM tenant, generate_series(1, 1000)
                """
            )
            let body = #"{"name":"a","kind":"prepaid","amount":"5"}"#
            let refused = try await server.operatorClient.post(Self.path, body)
            #expect(refused.status == 409)
            #expect(refused.code == "too_many_credit_grants")
        }
    }
}
