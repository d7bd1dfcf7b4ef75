import BillingCore
import Foundation

@testable import Invoicing

/// Documents to render: one with everything on it, and ones with many or awkward lines.
enum SampleInvoice {
    static let november = interval("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")

    static func interval(_ start: String, _ end: String) -> Interval {
        Interval(start: instant(start), end: instant(end))
    }

    static func instant(_ text: String) -> Instant {
        (try? Instant(parsing: text)) ?? .maximum
    }

    static var full: PrintableInvoice {
        PrintableInvoice(
            id: "0193a1b2-0000-7000-8000-000000000001",
            number: "INV-000042",
            title: "Invoice",
            kind: "regular",
            status: "finalized",
            seller: .init(name: "Turnpike Resale Ltd", lines: ["1 Toll Road", "Dublin D02 X285", "VAT IE1234567T"]),
            tenantKey: "acme",
            tenant: .init(
                name: "Åcme Große Söhne GmbH & Co. <KG>",
                lines: ["Straße des 17. Juni 135", "10623 Berlin", "Tax number DE123456789"]
            ),
            currency: "USD",
            period: november,
            issuedAt: instant("2026-12-02T00:00:00Z"),
            dueAt: instant("2027-01-01T00:00:00Z"),
            documentedAt: instant("2026-12-02T00:00:00.5Z"),
            payment: .init(
                total: "1469156.94",
                paidByCredit: "10.00",
                amountDue: "1469146.94",
                carriedForward: "0.00"
            ),
            facts: [
                .init("Invoice number", "INV-000042"), .init("Issue date", "2 December 2026"),
                .init("Due date", "1 January 2027"), .init("Period", "1 Nov 2026 - 1 Dec 2026"),
                .init("Plan", "Pro, version 3"), .init("Currency", "USD"),
            ],
            lines: [fee, tokens, matrixCell],
            totals: [
                .init("Subtotal", "1234587.66"), .init("Discounts", "-2.00"), .init("Tax", "234571.28"),
                .init("Total", "1469156.94", isEmphasised: true), .init("Prepaid credit", "-10.00"),
                .init("Amount due", "1469146.94", isEmphasised: true),
            ],
            notes: ["Reverse charge: the recipient owes the tax.", "Payment within 30 days."]
        )
    }

    static var fee: PrintableInvoice.Line {
        PrintableInvoice.Line(
            kind: "fee",
            description: "Platform fee (1 Dec - 1 Jan)",
            period: interval("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            plan: "pro",
            planVersion: 3,
            amount: "20.00",
            amountUnrounded: "20.000000000000",
            allocations: [.init(.discount, label: "Discount LAUNCH 10 %", amount: "-2.00")],
            taxes: [.init(label: "VAT 19 %", amount: "3.42")],
            total: "21.42"
        )
    }

    static var tokens: PrintableInvoice.Line {
        PrintableInvoice.Line(
            kind: "usage",
            description: "Chat tokens (1 Nov - 1 Dec)",
            period: november,
            feature: "chat-tokens",
            plan: "pro",
            planVersion: 3,
            priceModel: "graduated",
            quantity: "617284331000",
            unit: "token",
            tiers: [
                .init(label: "up to 1,000,000", quantity: "1000000", unitAmount: "0", amount: "0"),
                .init(
                    label: "above 1,000,000",
                    quantity: "617283331000",
                    unitAmount: "0.000002",
                    flatAmount: "0.5",
                    amount: "1234567.162"
                ),
            ],
            amount: "1234567.16",
            amountUnrounded: "1234567.162000000000",
            taxes: [.init(label: "VAT 19 %", amount: "234567.76")],
            total: "1469134.92"
        )
    }

    static var matrixCell: PrintableInvoice.Line {
        PrintableInvoice.Line(
            kind: "usage",
            description: "All tokens (1 Nov - 1 Dec)",
            period: november,
            feature: "all-tokens",
            cell: [.init("model", "gpt-4o"), .init("token_class", "output")],
            plan: "pro",
            planVersion: 3,
            priceModel: "matrix",
            quantity: "50000",
            unit: "token",
            tiers: [.init(label: "all", quantity: "50000", unitAmount: "0.00001", amount: "0.5")],
            amount: "0.50",
            amountUnrounded: "0.500000000000",
            taxes: [.init(label: "VAT 19 %", amount: "0.10")],
            total: "0.60"
        )
    }

    /// Names as customers have them: long, in other scripts, from right to left, and made to break things.
    static let awkwardNames = [
        "株式会社ターンパイク 東京支店", "ООО «Ромашка» Санкт-Петербург", "Ελληνική Εταιρεία", "شركة المثال للتجارة",
        "Pfannenkuchenhaus-Unternehmensberatungsgesellschaft mit beschränkter Haftung und mehreren Niederlassungen",
        String(repeating: "Donaudampfschifffahrt", count: 12), "=HYPERLINK(\"http://evil.example\",\"pay here\")",
        "<script>alert('x')</script>", "<\u{338}b>", "a, b; \"c\"", "line\r\nbreak\ttab", "{{title}} {{{style}}}",
    ]

    static func document(lines: [PrintableInvoice.Line], total: String = "0.00") -> PrintableInvoice {
        var document = full
        document.lines = lines
        document.totals = [.init("Total", total, isEmphasised: true)]
        return document
    }

    static func many(_ count: Int) -> PrintableInvoice {
        document(
            lines: (1...count).map { index in
                var line = index.isMultiple(of: 3) ? tokens : fee
                line.description = "Line \(index) \(awkwardNames[index % 4])"
                return line
            }
        )
    }

    static var awkward: PrintableInvoice {
        var document = document(
            lines: awkwardNames.enumerated().map { index, name in
                var line = index.isMultiple(of: 2) ? tokens : fee
                line.description = name
                return line
            }
        )
        document.tenant.name = awkwardNames[0]
        document.tenant.lines = Array(awkwardNames[1...4])
        document.seller.name = awkwardNames[7]
        document.notes = [awkwardNames.joined(separator: " ")]
        return document
    }

    /// Leaves what was rendered in the folder that `TURNPIKE_TEST_KEEP_DOCUMENTS` names, if it names one, to look at.
    static func keep(_ bytes: [UInt8], as name: String) throws {
        guard let folder = ProcessInfo.processInfo.environment["TURNPIKE_TEST_KEEP_DOCUMENTS"] else { return }
        try Data(bytes).write(to: URL(fileURLWithPath: folder).appendingPathComponent(name))
    }
}
