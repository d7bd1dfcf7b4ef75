import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@Suite(.timeLimit(.minutes(15)))
struct DiscountRoutesTests {
    private static let path = "/api/v1/tenants/acme/discounts"

    private static func make(_ server: TestServer, _ body: String) async throws -> String {
        server.clock.advance(seconds: 1)
        return try await server.ask("POST", "/tenants/acme/discounts", body, expecting: 201)["id"]?.string ?? ""
    }

    private static func totals(_ server: TestServer) async throws -> [String] {
        try await server.column("SELECT round(total, 2)::text FROM invoice_document ORDER BY sequence")
            .compactMap { $0 }
    }

    @Test func `once, repeating and forever are on as many invoices as they say`() async throws {
        try await CreditStory.run { server in
            let once = try await Self.make(server, #"{"name":"Hello","amount":"10.00","duration":"once"}"#)
            let twice = try await Self.make(
                server,
                #"{"name":"Start","percent":"50","duration":"repeating","invoices":2}"#
            )
            let always = try await Self.make(server, #"{"name":"Friend","percent":"10","duration":"forever"}"#)
            for time in ["2026-11-01", "2026-12-01", "2027-01-01"] {
                try await server.closeInvoices(at: "\(time)T00:00:00Z")
            }
            #expect(try await Self.totals(server) == ["40.50", "45.00", "90.00"])
            var shown: [String] = []
            for id in [once, twice, always] {
                let discount = try await server.ask("GET", "/tenants/acme/discounts/\(id)")
                let texts = [discount["status"]?.string, discount["used"]?.number, discount["invoices"]?.number]
                shown.append(texts.map { $0 ?? "all" }.joined(separator: " "))
            }
            #expect(shown == ["ended 1 1", "ended 2 2", "active 3 all"])
            #expect(try await server.audited("discount").count == 3)
        }
    }

    @Test func `faults of a new discount are pointed at`() async throws {
        try await CreditStory.run { server in
            let faulty = [
                (#"{}"#, ["/name", "/percent", "/duration"]),
                (#"{"name":"x","percent":"5","amount":"5","duration":"once"}"#, ["/amount"]),
                (#"{"name":"x","percent":"0","duration":"once"}"#, ["/percent"]),
                (#"{"name":"x","percent":"100.01","duration":"once"}"#, ["/percent"]),
                (#"{"name":"x","amount":"0.001","duration":"once"}"#, ["/amount"]),
                (#"{"name":"x","amount":"1","duration":"once","currency":"EUR"}"#, ["/currency"]),
                (#"{"name":"x","percent":"5","duration":"once","invoices":2}"#, ["/invoices"]),
                (#"{"name":"x","percent":"5","duration":"forever","invoices":2}"#, ["/invoices"]),
                (#"{"name":"x","percent":"5","duration":"repeating"}"#, ["/invoices"]),
                (#"{"name":"x","percent":"5","duration":"repeating","invoices":0}"#, ["/invoices"]),
                (#"{"name":"x","percent":"5","duration":"monthly"}"#, ["/duration"]),
                (#"{"name":"x","percent":"5","duration":"once","uses":0}"#, ["/uses"]),
            ]
            for (body, pointers) in faulty {
                let answer = try await server.operatorClient.post(Self.path, body)
                #expect(answer.status == 400, "\(body): \(answer)")
                #expect(answer.pointers == pointers, "\(body): \(answer)")
            }
            #expect(try await server.column("SELECT name FROM discount") == [])
        }
    }

    @Test func `an ended discount is on no later invoice and can't end twice`() async throws {
        try await CreditStory.run { server in
            let id = try await Self.make(server, #"{"name":"Friend","percent":"10","duration":"forever"}"#)
            try await server.closeInvoices(at: "2026-11-01T00:00:00Z")
            let stale = try await server.operatorClient.post("\(Self.path)/\(id)/end", headers: ["If-Match": "\"1\""])
            #expect(stale.status == 412)
            let ended = try await server.operatorClient.post("\(Self.path)/\(id)/end", headers: ["If-Match": "\"2\""])
                .expecting(200)
            #expect(ended.json["status"]?.string == "ended")
            #expect(ended.header("ETag") == "\"3\"")
            #expect(try await server.operatorClient.post("\(Self.path)/\(id)/end").code == "discount_ended")
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            #expect(try await Self.totals(server) == ["90.00", "100.00"])
            #expect(try await server.audited("discount") == ["discount.created", "discount.ended"])
        }
    }

    @Test func `lists narrow by status, page by page`() async throws {
        try await CreditStory.run { server in
            let first = try await Self.make(server, #"{"name":"a","percent":"1","duration":"forever"}"#)
            let second = try await Self.make(server, #"{"name":"b","amount":"1","duration":"forever"}"#)
            try await server.ask("POST", "/tenants/acme/discounts/\(first)/end")
            let active = try await server.ask("GET", "/tenants/acme/discounts?status=active")
            #expect(active["data"]?.elements?.map { $0["id"]?.string } == [second])
            #expect(active["data"]?[0]?["amount"]?.string == "1.00")
            #expect(active["data"]?[0]?["percent"]?.isNull == true)
            let page = try await server.ask("GET", "/tenants/acme/discounts?limit=1")
            let cursor = page["next_cursor"]?.string ?? ""
            let rest = try await server.ask("GET", "/tenants/acme/discounts?limit=1&cursor=\(cursor)")
            #expect([page, rest].map { $0["data"]?[0]?["id"]?.string } == [first, second])
        }
    }

    @Test func `a tenant reads its own discounts and gives itself none, and there are at most a hundred`() async throws
    {
        try await CreditStory.run { server in
            let body = #"{"name":"a","percent":"1","duration":"forever"}"#
            let id = try await Self.make(server, body)
            let portal = try await server.client([.invoicesRead, .invoicesWrite], tenant: "acme")
            #expect(try await portal.get("\(Self.path)/\(id)").json["percent"]?.string == "1")
            #expect(try await portal.post(Self.path, body).code == "operator_only")
            #expect(try await portal.post("\(Self.path)/\(id)/end").code == "operator_only")
            for _ in 1..<100 { _ = try await Self.make(server, body) }
            #expect(try await server.operatorClient.post(Self.path, body).code == "too_many_discounts")
            try await server.ask("POST", "/tenants/acme/discounts/\(id)/end")
            _ = try await Self.make(server, body)
        }
    }
}
