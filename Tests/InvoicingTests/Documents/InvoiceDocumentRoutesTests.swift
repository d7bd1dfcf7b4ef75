import Foundation
import TestSupport
import Testing
import Web

/// `GET /invoices/{id}.html`, `.pdf`, `.csv`, `/invoices/{id}/explain` and `/invoices/export`.
@Suite struct InvoiceDocumentRoutesTests {
    private static func path(_ number: Int, _ rest: String) -> String {
        "/api/v1/invoices/\(PinnedInvoices.id(number))\(rest)"
    }

    @Test func thePageIsHTMLThatMayLoadNothingElse() async throws {
        try await TestServer.run { server in
            try await PinnedInvoices.arrange(server, count: 1)
            let page = try await server.operatorClient.get(Self.path(1, ".html")).expecting(200)
            #expect(page.header("Content-Type") == "text/html; charset=utf-8")
            #expect(page.header("Content-Disposition") == #"inline; filename="INV-000001.html""#)
            #expect(page.header("Content-Security-Policy")?.contains("style-src 'sha256-") == true)
            #expect(page.header("Referrer-Policy") == "no-referrer")
            #expect(page.header("Cache-Control") == "no-store")
            for text in [
                "<strong>Turnpike Resale Ltd</strong>", "<span>10115 Berlin</span>", "<td>=Base fee</td>",
                "<dt>Issue date</dt><dd>1 December 2026</dd>", "<dt>Due date</dt><dd>31 December 2026</dd>",
                "<td>5 second</td><td>0.1</td><td></td><td>0.50</td>", "<td>VAT 19 %</td>", "12.40 USD",
                "<p>Thank you.</p>",
            ] {
                #expect(page.text.contains(text), "\(text)")
            }
        }
    }

    @Test func thePDFHasEveryLine() async throws {
        try await TestServer.run { server in
            try await PinnedInvoices.arrange(server, count: 1)
            let pdf = try await server.operatorClient.get(Self.path(1, ".pdf")).expecting(200)
            #expect(pdf.header("Content-Type") == "application/pdf")
            #expect(pdf.header("Content-Disposition") == #"inline; filename="INV-000001.pdf""#)
            let text = try await withTemporaryDirectory { directory in
                let file = directory.appendingPathComponent("invoice.pdf")
                try Data(pdf.body).write(to: file)
                return try await TestTools.run("pdftotext", ["-raw", file.path, "-"], in: directory)
            }
            for part in ["=Base fee", "Seconds (1 Nov - 1 Dec)", "VAT 19 % 1.90", "12.40 USD", "INV-000001"] {
                #expect(text.contains(part), "\(part)")
            }
            #expect(try await server.operatorClient.get(Self.path(1, ".pdf")).body == pdf.body)
        }
    }

    @Test func theCSVHasARecordForEachLine() async throws {
        try await TestServer.run { server in
            try await PinnedInvoices.arrange(server, count: 1)
            let csv = try await server.operatorClient.get(Self.path(1, ".csv")).expecting(200)
            #expect(csv.header("Content-Disposition") == #"attachment; filename="INV-000001.csv""#)
            let records = csv.text.split(separator: "\r\n")
            #expect(records.count == 3)
            #expect(records[1].contains(#","'=Base fee","#))
            #expect(
                records[0].hasSuffix(
                    #","total","invoice_total","paid_by_credit","amount_due","paid_at","reissue_of","carried_forward""#
                )
            )
            #expect(records[1].hasSuffix(#",10,10.00,0.00,0.00,"VAT 19 %",1.90,11.90,12.40,0.00,12.40,,,0.00"#))
            #expect(records[2].hasSuffix(#",5,"second",0.5,0.50,0.00,0.00,,0.00,0.50,12.40,0.00,12.40,,,0.00"#))
        }
    }

    /// A portal reads its tenant's invoices; another's are like the absent, whatever is asked for.
    @Test func aTenantReadsItsOwnOnly() async throws {
        try await TestServer.run { server in
            try await PinnedInvoices.arrange(server, count: 2)
            let portal = try await server.client([.invoicesRead], tenant: "acme")
            for rest in [".html", ".pdf", ".csv", "/explain"] {
                #expect(try await portal.get(Self.path(1, rest)).status == 200)
                let foreign = try await portal.get(Self.path(2, rest))
                let absent = try await portal.get(Self.path(3, rest))
                #expect(foreign.status == 404)
                #expect(foreign.code == "invoice_not_found")
                #expect(
                    foreign.text.replacing(PinnedInvoices.id(2), with: PinnedInvoices.id(3)).count == absent.text.count
                )
                #expect(try await portal.get("/api/v1/invoices/x\(rest)").code == "invoice_not_found")
            }
            let reader = try await server.client([.eventsRead])
            #expect(try await reader.get(Self.path(1, ".pdf")).status == 403)
        }
    }

    @Test func aLineIsExplainedInWordsAndNumbersAndLeadsToItsEvents() async throws {
        try await TestServer.run { server in
            try await PinnedInvoices.arrange(server, count: 1)
            try await server.ingest(
                SentEvent("1", time: "2026-11-20T00:00:00Z", data: #"{"seconds":2}"#),
                SentEvent("2", time: "2026-11-21T00:00:00Z", data: #"{"seconds":3}"#)
            )
            // After the invoice's watermark, and outside its period.
            try await server.ingest(SentEvent("3", time: "2026-11-22T00:00:00Z", data: #"{"seconds":9}"#))
            _ = try await server.void("2")
            let explained = try await server.ask("GET", "/invoices/\(PinnedInvoices.id(1))/explain")
            #expect(explained["ledger_seq"]?.number == "2")
            #expect(explained["rounding"]?.string == "Half away from zero to 2 fractional digits, once for each line.")
            let line = try #require(explained["lines"]?[1])
            #expect(
                (line["text"]?.elements ?? []).compactMap(\.string) == [
                    "5 seconds used in 2 events.", "Each unit: 5 x 0.1 = 0.5.", "0.5 rounds to 0.50 USD.",
                ]
            )
            #expect(line["steps"]?[0]?["arithmetic"]?.string == "5 x 0.1 = 0.5")
            #expect(line["price_model"]?.string == "per_unit")
            #expect(line["plan_version"]?.number == "1")
            #expect(line["amount_unrounded"]?.string == "0.5")
            let path = try #require(line["events"]?.string)
            let events = try await server.operatorClient.get(path).expecting(200).json
            let counted = (events["data"]?.elements ?? []).map {
                "\($0["id"]?.string ?? "") \($0["quantity"]?.string ?? "")"
            }
            #expect(counted == ["2 3", "1 2"])
            let fee = try #require(explained["lines"]?[0])
            #expect(fee["events"]?.isNull == true)
            #expect(fee["taxes"]?[0]?["label"]?.string == "VAT 19 %")
        }
    }
}
