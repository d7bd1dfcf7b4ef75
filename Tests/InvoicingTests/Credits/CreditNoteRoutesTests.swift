import BillingCore
import Postgres
import TestSupport
import Testing
import Web

/// An invoice of a fee of 100 and a fee of 50 with 19 % tax: 119 and 59.50, together 178.50.
@Suite(.timeLimit(.minutes(15)))
struct CreditNoteRoutesTests {
    private static func run(
        inclusive: Bool = false,
        credit: String? = nil,
        _ body: (TestServer, String) async throws -> Void
    ) async throws {
        let plan = """
            {"fees":[{"key":"base","name":"Base","amount":"100","charged":"in_advance"},
                     {"key":"care","name":"Care","amount":"50","charged":"in_advance"}]}
            """
        try await CreditStory.run(plan: plan) { server in
            let tax = #"{"rates":[{"key":"vat","name":"VAT","percent":"19"}],"inclusive":\#(inclusive)}"#
            try await server.ask("PATCH", "/tenants/acme", #"{"billing":{"tax":\#(tax)}}"#)
            if let credit { _ = try await server.grant(#"{"name":"Paid","kind":"prepaid","amount":"\#(credit)"}"#) }
            try await server.closeInvoices(at: "2026-11-01T00:00:00Z")
            let ids = try await server.column("SELECT invoice_id::text FROM invoice")
            try await body(server, try #require(ids.first ?? nil))
        }
    }

    private static func note(
        _ server: TestServer,
        _ invoice: String,
        _ body: String,
        as client: TestClient? = nil
    ) async throws -> TestResponse {
        server.clock.advance(seconds: 1)
        return try await (client ?? server.operatorClient).post("/api/v1/invoices/\(invoice)/credit-notes", body)
    }

    private static func state(_ server: TestServer) async throws -> String? {
        try await server.column(
            "SELECT status || ' ' || round(credited, 2) || ' r' || revision FROM invoice"
        ).first ?? nil
    }

    @Test func `what is still to be paid is lowered, and an invoice with nothing left to pay is paid`() async throws {
        try await Self.run { server, invoice in
            let part = try await Self.note(
                server,
                invoice,
                #"{"lines":[{"line":1,"amount":"59.50"}],"reason":"Half the month"}"#
            ).expecting(201)
            #expect(part.json["number"]?.string == "CN-00000001")
            #expect(part.json["total"]?.string == "59.50")
            #expect(part.json["tax"]?.string == "9.50")
            #expect(part.json["total_excluding_tax"]?.string == "50.00")
            #expect(part.json["taxes"]?[0]?["amount"]?.string == "9.50")
            #expect(part.json["applied_to_due"]?.string == "59.50")
            #expect(part.json["refunded"]?.string == "0.00")
            #expect(part.json["credit_grant"]?.isNull == true)
            #expect(try await Self.state(server) == "finalized 59.50 r3")
            let rest = try await Self.note(server, invoice, #"{"amount":"119","reason":"The rest"}"#).expecting(201)
            #expect(rest.json["lines"]?.elements?.map { $0["amount"]?.string } == ["59.50", "59.50"])
            #expect(rest.json["tax"]?.string == "19.00")
            #expect(try await Self.state(server) == "paid 178.50 r4")
            #expect(try await server.column("SELECT name FROM credit_grant") == [])
            #expect(try await server.audited("credit_note").count == 2)
            #expect(try await server.audited("invoice").last == "invoice.paid")
            let more = try await Self.note(server, invoice, #"{"amount":"0.01","reason":"More"}"#)
            #expect(more.code == "credit_exceeds_invoice")
        }
    }

    @Test func `what was paid comes back as credit that the next invoice uses, or outside`() async throws {
        try await Self.run(credit: "100") { server, invoice in
            // 78.50 is to be paid; of 118.50 taken back 40 was paid by credit.
            let note = try await Self.note(server, invoice, #"{"amount":"118.50","reason":"Sorry"}"#).expecting(201)
            #expect(note.json["applied_to_due"]?.string == "78.50")
            #expect(note.json["refunded"]?.string == "40.00")
            #expect(try await Self.state(server) == "paid 118.50 r3")
            let grant = try await server.ask(
                "GET",
                "/tenants/acme/credit-grants/\(note.json["credit_grant"]?.string ?? "")"
            )
            #expect(grant["amount"]?.string == "40.00")
            #expect(grant["kind"]?.string == "prepaid")
            #expect(grant["name"]?.string == "Credit note CN-00000001")
            #expect(grant["origin"]?["type"]?.string == "credit_note")
            #expect(grant["origin"]?["id"]?.string == note.json["id"]?.string)
            let outside = try await Self.note(
                server,
                invoice,
                #"{"lines":[{"line":2,"amount":"10"}],"reason":"Bank","refund":"external"}"#
            ).expecting(201)
            #expect(outside.json["refund"]?.string == "external")
            #expect(outside.json["refunded"]?.string == "10.00")
            #expect(outside.json["credit_grant"]?.isNull == true)
            try await server.closeInvoices(at: "2026-12-01T00:00:00Z")
            let due = try await server.column(
                "SELECT round(amount_due, 2)::text FROM invoice_document ORDER BY sequence"
            )
            #expect(due == ["78.50", "138.50"])
        }
    }

    @Test func `where prices contain the tax, so does what is taken back`() async throws {
        try await Self.run(inclusive: true) { server, invoice in
            let note = try await Self.note(server, invoice, #"{"lines":[{"line":1,"amount":"100"}],"reason":"All"}"#)
                .expecting(201)
            #expect(note.json["tax"]?.string == "15.97")
            #expect(note.json["total_excluding_tax"]?.string == "84.03")
            let more = try await Self.note(server, invoice, #"{"lines":[{"line":1,"amount":"0.01"}],"reason":"x"}"#)
            #expect(more.code == "credit_exceeds_invoice")
            #expect(more.pointers == ["/lines/0/amount"])
        }
    }

    @Test func `a credit note is a page and a PDF of its own, which stay as they are`() async throws {
        for inclusive in [false, true] {
            try await Self.run(inclusive: inclusive) { server, invoice in
                let billing = #"{"name":"Renamed"}"#
                let body = #"{"lines":[{"line":1,"amount":"59.50"}],"reason":"Half <the> month"}"#
                let id = try await Self.note(server, invoice, body).expecting(201).json["id"]?.string ?? ""
                let path = "/api/v1/credit-notes/\(id)"
                let page = try await server.operatorClient.get("\(path).html").expecting(200)
                #expect(page.header("Content-Disposition") == #"inline; filename="CN-00000001.html""#)
                #expect(page.header("Content-Security-Policy")?.contains("default-src 'none'") == true)
                for text in [
                    "<h1>Credit note</h1>", "<dt>Invoice number</dt><dd>INV-00000001</dd>", "Half &lt;the&gt; month",
                    "<td>Base (1 Nov - 1 Dec)</td>", "VAT 19 %", "Taken off the amount due",
                    #"<tr class="emphasised"><th scope="row">Total credited</th><td>59.50 USD</td></tr>"#,
                ] {
                    #expect(page.text.contains(text), "\(text)")
                }
                let pdf = try await server.operatorClient.get("\(path).pdf").expecting(200)
                #expect(pdf.header("Content-Type") == "application/pdf" && pdf.body.starts(with: Array("%PDF".utf8)))
                try SampleInvoice.keep(pdf.body, as: "credit-note.pdf")
                try await server.ask("PATCH", "/tenants/acme", billing)
                #expect(try await server.operatorClient.get("\(path).html").body == page.body)
                #expect(try await server.operatorClient.get("\(path).pdf").body == pdf.body)
                for ending in ["html", "pdf"] {
                    let absent = "\(path.dropLast(4))0000.\(ending)"
                    #expect(try await server.operatorClient.get(absent).code == "credit_note_not_found")
                }
            }
        }
    }

    @Test func `faults are pointed at and leave nothing`() async throws {
        try await Self.run { server, invoice in
            let faulty: [(body: String, status: Int, pointers: [String])] = [
                ("{}", 400, ["/amount", "/reason"]),
                (#"{"amount":"1","lines":[{"line":1,"amount":"1"}],"reason":"x"}"#, 400, ["/amount"]),
                (#"{"lines":[],"reason":"x"}"#, 400, ["/lines"]),
                (#"{"lines":[{"line":1,"amount":"1"},{"line":1,"amount":"1"}],"reason":"x"}"#, 400, ["/lines/1/line"]),
                (#"{"lines":[{"line":1,"amount":"0"}],"reason":"x"}"#, 400, ["/lines/0/amount"]),
                (#"{"lines":[{"line":1,"amount":"0.001"}],"reason":"x"}"#, 400, ["/lines/0/amount"]),
                (#"{"amount":"0.001","reason":"x"}"#, 400, ["/amount"]),
                (#"{"amount":"1","reason":"x","refund":"cash"}"#, 400, ["/refund"]),
                (#"{"amount":"1","reason":"x","tax":"0"}"#, 400, ["/tax"]),
                (#"{"amount":"178.51","reason":"x"}"#, 422, ["/amount"]),
                (
                    #"{"lines":[{"line":2,"amount":"1"},{"line":1,"amount":"119.01"}],"reason":"x"}"#, 422,
                    ["/lines/1/amount"]
                ),
                (#"{"lines":[{"line":9,"amount":"1"}],"reason":"x"}"#, 422, ["/lines/0/line"]),
            ]
            for fault in faulty {
                let answer = try await Self.note(server, invoice, fault.body)
                #expect(answer.status == fault.status, "\(fault.body): \(answer)")
                #expect(answer.pointers == fault.pointers, "\(fault.body): \(answer)")
            }
            let absent = try await Self.note(
                server,
                "0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f60",
                #"{"amount":"1","reason":"x"}"#
            )
            #expect(absent.code == "invoice_not_found")
            #expect(try await Self.state(server) == "finalized 0.00 r2")
            #expect(try await server.column("SELECT number FROM credit_note") == [])
            let first = try await Self.note(server, invoice, #"{"amount":"1","reason":"x"}"#).expecting(201)
            #expect(first.json["number"]?.string == "CN-00000001")
        }
    }

    @Test func `drafts and void invoices have nothing to take back`() async throws {
        try await Self.run { server, invoice in
            for status in ["draft", "void"] {
                try await server.database.run("UPDATE invoice SET status = '\(status)'")
                let refused = try await Self.note(server, invoice, #"{"amount":"1","reason":"x"}"#)
                #expect(refused.status == 409)
                #expect(refused.code == "invoice_status")
            }
            try await server.database.run("UPDATE invoice SET status = 'uncollectible'")
            _ = try await Self.note(server, invoice, #"{"amount":"178.50","reason":"x"}"#).expecting(201)
            #expect(try await Self.state(server) == "uncollectible 178.50 r3")
        }
    }

    @Test func `credit notes are listed and read by their tenant, and issued by operators once per key`() async throws {
        try await Self.run { server, invoice in
            let path = "/api/v1/invoices/\(invoice)/credit-notes"
            let body = #"{"amount":"1.19","reason":"x"}"#
            let first = try await server.operatorClient.post(path, body, headers: ["Idempotency-Key": "k"]).expecting(
                201
            )
            let again = try await server.operatorClient.post(path, body, headers: ["Idempotency-Key": "k"])
            #expect(again.body == first.body)
            let second = try await Self.note(server, invoice, body).expecting(201)
            let portal = try await server.client([.invoicesRead, .invoicesWrite], tenant: "acme")
            #expect(try await portal.post(path, body).code == "operator_only")
            #expect(try await portal.get(first.header("Location") ?? "").body == first.body)
            for list in [path, "/api/v1/credit-notes"] {
                let page = try await portal.get("\(list)?limit=1").expecting(200)
                let rest = try await portal.get("\(list)?limit=1&cursor=\(page.json["next_cursor"]?.string ?? "")")
                #expect([page, rest].map { $0.json["data"]?[0] } == [first.json, second.json])
            }
            let before = try await server.ask("GET", "/credit-notes?tenant=acme&to=2026-11-01T00:00:00Z")
            #expect(before["data"]?.elements?.isEmpty == true)
            try await server.ask("PATCH", "/tenants/acme", #"{"name":"Renamed"}"#)
            #expect(try await server.ask("GET", "/credit-notes?tenant=acme")["data"]?[0] == first.json)
        }
    }

    @Test func `credit notes issued at once never take back more than there is, and number without gaps`() async throws
    {
        try await Self.run(credit: "178.50") { server, invoice in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for index in 0..<40 {
                    // Half of them name the line of 59.50, and half the whole of 178.50.
                    let body =
                        index % 2 == 0
                        ? #"{"lines":[{"line":2,"amount":"7.01"}],"reason":"race"}"#
                        : #"{"amount":"17.03","reason":"race"}"#
                    group.addTask { try await Self.note(server, invoice, body).status }
                }
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
            #expect(Set(statuses) == [201, 422])
            let perLine = try await server.column(
                """
                SELECT line.line_number || ' ' || (sum(note.amount + note.tax) <= line.amount + line.tax
                    AND sum(note.tax) <= line.tax)
                FROM invoice_line AS line JOIN credit_note_line AS note USING (tenant_id, invoice_id, line_number)
                GROUP BY line.line_number, line.amount, line.tax
                ORDER BY 1
                """
            )
            #expect(perLine == ["1 true", "2 true"])
            let sums = try await server.column(
                """
                SELECT (sum(note.total) = invoice.credited AND invoice.credited <= 178.50
                    AND sum(note.total) = (SELECT sum(amount + tax) FROM credit_note_line)
                    AND sum(note.refunded) = (SELECT sum(amount) FROM credit_grant WHERE origin = 'credit_note')
                    AND count(*) = max(note.sequence) AND min(note.sequence) = 1)::text
                FROM invoice JOIN credit_note AS note USING (tenant_id, invoice_id)
                GROUP BY invoice.invoice_id, invoice.credited
                """
            )
            #expect(sums == ["true"])
            let issued = try await server.column("SELECT count(*)::text FROM credit_note")
            #expect(issued == ["\(statuses.count { $0 == 201 })"])
        }
    }
}
