import BillingCore
import Catalog
import Postgres
import TestSupport
import Testing
import Usage
import Web

@testable import Invoicing

/// Invoices of very many matrix cells. Work that grew with the square of their number would go on for hours.
@Suite(.timeLimit(.minutes(5)))
struct ManyCellsTests {
    private static let period = Interval(
        start: SampleInvoice.instant("2026-11-01T00:00:00Z"),
        end: SampleInvoice.instant("2026-12-01T00:00:00Z")
    )

    private static func uncosted(_ cell: String, events: Int64 = 1) -> InvoiceFacts.Unpriced {
        InvoiceFacts.Unpriced(
            feature: "seconds",
            cell: cell,
            quantity: .one,
            unit: "unit",
            uncosted: InvoiceFacts.Unpriced.Uncosted(events: events, period: period)
        )
    }

    @Test func `what is listed is bounded, and its sums are those of everything`() throws {
        let few = (0..<1_000).map { Self.uncosted("\($0)") }
        #expect(try few.shortened() == few)
        let one = few + [Self.uncosted("last")]
        #expect(try one.shortened() == one)
        let lacksPrice = InvoiceFacts.Unpriced(feature: "seconds", cell: "x", quantity: .one, unit: "unit")
        let many = try (few + [Self.uncosted("a", events: 2), lacksPrice, Self.uncosted("b", events: 3)]).shortened()
        #expect(many.count == 1_002 && Array(many.prefix(1_000)) == few && many.last == lacksPrice)
        let rest = many[1_000]
        #expect(rest.cell.isEmpty && rest.sumOf == 2 && rest.uncosted?.events == 5)
        #expect(rest.quantity.description == "2")
        let text = "Seconds (2 more together): 5 events (2 units) without a known cost, not in this amount"
        #expect(rest.text(named: "Seconds") == text)
    }

    @Test func `each line finds the counter of its cell among a hundred thousand`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(SentEvent("1"))
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string
            let draft = StoredInvoice(
                id: InvoiceID(rawValue: .zero),
                tenantID: TenantID(rawValue: 1),
                subscriptionID: try #require(id.flatMap { SubscriptionID($0) }),
                kind: .regular,
                periodIndex: 0,
                period: Self.period,
                createdAt: Self.period.start,
                issuedAt: Self.period.start
            )
            let records = try await server.withPool { pool in
                try await pool.transaction(.worker) { transaction in
                    try InvoiceRecords(for: [draft], now: Self.period.start, in: transaction)
                }
            }
            let subscription = try #require(records.subscriptions[draft.subscriptionID])
            let periods = try #require(records.periods[draft.subscriptionID])
            let period = try #require(periods.first).period
            let feature = FeatureID(rawValue: 1)
            let counters = (1...100_000).map { number in
                var state = CounterState(quantity: .one, eventCount: 1)
                state.ledgerSequence = Int64(number)
                let key = CounterKey(tenant: draft.tenantID, period: period.id, feature: feature, cell: "\(number)")
                return CounterRow(key: key, state: state)
            }
            let texts = InvoiceTexts(
                subscription: subscription,
                catalog: .empty,
                periods: periods,
                counters: [period.id: counters],
                pinnedNames: [:]
            )
            let line = try Self.line(feature, cell: "100000")
            for number in 1...50_000 {
                let facts = try texts.line(line, number: number).facts
                guard facts.ledgerSequence == 100_000, facts.billingPeriodID == period.id else {
                    Issue.record("line \(number) is of another counter")
                    return
                }
            }
        }
    }

    private static func line(_ feature: FeatureID, cell: String) throws -> InvoiceLine {
        let usage = PricedUsage(
            feature: feature,
            cell: cell,
            price: .perUnit(unitAmount: .one),
            through: UsageTotal(quantity: .one, eventCount: 1)
        )
        let segment = InvoicedSegment(active: period, usage: [usage])
        let whole = InvoicedPeriod(index: 0, interval: period, scope: .whole, segments: [segment])
        let currency = try #require(Currency("USD"))
        let invoice = try Invoice(kind: .regular, period: period, periods: [whole], currency: currency)
        return try #require(invoice.lines.first)
    }

    @Test func `an invoice of a release that listed every cell is read and explained, however long`() async throws {
        try await ClosingStory.run { server in
            try await server.ingest(SentEvent("1"))
            try server.set("2026-12-01T00:00:00Z")
            try await server.close()
            // More than 8 MiB.
            try await server.database.run(
                """
                UPDATE invoice_document SET facts = (facts::jsonb || jsonb_build_object('unpriced', (
                    SELECT jsonb_agg(jsonb_build_object(
                        'feature', 'seconds', 'cell', format('{"model":"%s"}', number), 'quantity', '1',
                        'unit', 'unit', 'uncosted_events', 1,
                        'uncosted_from', '2026-11-01T00:00:00.000000Z', 'uncosted_to', '2026-12-01T00:00:00.000000Z'
                    ) ORDER BY number) FROM generate_series(1, 50000) AS number
                )))::json
                """
            )
            let found = try await server.ask("GET", "/invoices?kind=regular")["data"]?[0]?["id"]?.string
            let id = try #require(found.flatMap { InvoiceID($0) })
            let whole = try await server.withPool { pool in
                try await pool.transaction(.worker) { transaction in
                    try InvoiceReading.whole(id, catalog: .empty, now: server.clock.now, in: transaction)
                }
            }
            var long = try #require(whole)
            #expect(long.document.facts.unpriced.count == 50_000)
            let usage = try #require(long.lines.first { $0.item == .usage })
            long.lines = (1...50_000).map { usage.copy(number: $0, cell: #"{"model":"\#($0)"}"#) }
            let lines = try InvoiceExplanation(long).lines
            let words = "\(usage.itemName) (model 50000): 1 event (1 unit) without a known cost, not in this amount."
            #expect(lines.last?.text.last == words)
        }
    }
}

extension StoredInvoiceLine {
    /// The same of another cell.
    fileprivate func copy(number: Int, cell: String) -> StoredInvoiceLine {
        StoredInvoiceLine(
            number: number,
            kind: kind,
            item: item,
            itemKey: itemKey,
            itemName: itemName,
            periodIndex: periodIndex,
            segment: segment,
            featureID: featureID,
            cell: cell,
            period: period,
            description: description,
            quantity: quantity,
            planVersionID: planVersionID,
            amountExact: amountExact,
            previouslyInvoiced: previouslyInvoiced,
            amount: amount,
            discount: discount,
            includedCredit: includedCredit,
            promotionalCredit: promotionalCredit,
            tax: tax,
            facts: facts
        )
    }
}
