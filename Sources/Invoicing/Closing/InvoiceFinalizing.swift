import BillingCore
import Catalog
import Crypto
import Identity
import Postgres
import Web
import Webhooks

/// Finalises drafts in one transaction: computes them from what the ledger locks hold still, pins what they say, and
/// numbers them last.
///
/// Order of locks: ledgers of the tenants in order, counters (read only), invoices, credits and discounts, then the
/// series. An event of a tenant is committed before that tenant's lock, and counts, or after it: then it finds its
/// period final, and marks it for an adjustment.
struct InvoiceFinalizing: Sendable {
    let catalog: CatalogSnapshot
    let plans: [PlanVersionID: PlanVersion]
    let now: Instant
    let ids: IDSource
    /// Who issues the invoices.
    var seller: InvoiceSeller?

    /// What became of the drafts.
    struct Outcome: Sendable {
        var finalized: [WholeInvoice] = []
        /// Adjustments of nothing: void, without a number.
        var empty: [StoredInvoice] = []
        /// Beyond what an amount can hold: put off.
        var failed: [(draft: StoredInvoice, error: any Error)] = []
        /// The plan versions that were read, for the next batch.
        var plans: [PlanVersionID: PlanVersion] = [:]
    }

    /// - Parameter drafts: at most one of each tenant, their ledgers locked and they themselves read after that.
    func run(_ drafts: [StoredInvoice], in transaction: borrowing Transaction) throws -> Outcome {
        var outcome = Outcome(plans: plans)
        guard !drafts.isEmpty else { return outcome }
        let records = try InvoiceRecords(for: drafts, plans: plans, now: now, in: transaction)
        outcome.plans.learn(from: records.subscriptions.values)
        var prepared: [PreparedInvoice] = []
        for draft in drafts {
            do {
                var preparation = InvoicePreparation(draft: draft, records: records, catalog: catalog)
                preparation.seller = seller
                if let invoice = try preparation.prepared() { prepared.append(invoice) }
            } catch {
                outcome.failed.append((draft, error))
            }
        }
        let numbered = prepared.filter { !($0.invoice.kind == .adjustment && $0.lines.isEmpty) }
        outcome.empty = prepared.filter { $0.invoice.kind == .adjustment && $0.lines.isEmpty }.map(\.invoice)
        try write(prepared, numbered: numbered, failed: outcome.failed.map(\.draft), in: transaction)
        outcome.finalized = try number(numbered, in: transaction)
        Outbox.enqueue(outcome.finalized.flatMap { $0.eventsOfFinalizing(at: now, ids: ids) }, in: transaction)
        return outcome
    }

    private func write(
        _ prepared: [PreparedInvoice],
        numbered: [PreparedInvoice],
        failed: [StoredInvoice],
        in transaction: borrowing Transaction
    ) throws {
        if !failed.isEmpty {
            let later = now.adding(seconds: 3_600)
            transaction.enqueue(InvoiceInsertion.postpone(failed, to: later))
        }
        guard !prepared.isEmpty else { return }
        let states = prepared.map { (invoice: $0.invoice, status: $0.finalStatus) }
        let changed = try transaction.execute(InvoiceInsertion.finalize(states, at: now))
        guard changed == prepared.count else { throw InvoiceFault.changedMeanwhile }
        let wanted = prepared.flatMap(\.ownPeriods)
        if !wanted.isEmpty { transaction.enqueue(BillingPeriodStore.insertion(wanted)) }
        let closed = prepared.flatMap { invoice in
            invoice.closedPeriods.map {
                (
                    tenant: invoice.invoice.tenantID, subscription: invoice.invoice.subscriptionID, index: $0,
                    sequence: invoice.document.ledgerSequence
                )
            }
        }
        if !closed.isEmpty { transaction.enqueue(PeriodClosingStore.close(closed)) }
        guard !numbered.isEmpty else { return }
        transaction.enqueue(InvoiceInsertion.lines(numbered))
        let uses = numbered.flatMap(\.creditUses)
        if !uses.isEmpty {
            transaction.enqueue(CreditGrantStore.take(uses, at: now))
            transaction.enqueue(CreditGrantStore.application(uses, at: now))
        }
        let discounts = numbered.flatMap { invoice in
            invoice.discounts.map { (tenant: invoice.invoice.tenantID, id: $0) }
        }
        if !discounts.isEmpty { transaction.enqueue(DiscountStore.use(discounts, at: now)) }
        let owed = numbered.compactMap(owed)
        if !owed.isEmpty { transaction.enqueue(CreditGrantStore.insertion(owed)) }
    }

    /// Numbers follow the order of the drafts. Nothing is read or locked after the series.
    private func number(_ prepared: [PreparedInvoice], in transaction: borrowing Transaction) throws -> [WholeInvoice] {
        guard !prepared.isEmpty else { return [] }
        let series = try InvoiceSeriesStore.take(prepared.count, of: .invoice, in: transaction)
        var whole: [WholeInvoice] = []
        whole.reserveCapacity(prepared.count)
        for (offset, invoice) in prepared.enumerated() {
            var numbered = invoice.whole
            let sequence = series.first + Int64(offset)
            numbered.document.sequence = sequence
            numbered.document.number = InvoiceSeriesStore.number(sequence, prefix: series.prefix)
            numbered.document.finalizedAt = now
            numbered.document.dueAt = now.adding(seconds: Int64(invoice.paymentTermsDays) * 86_400)
            numbered.document.contentHash = Array(SHA256.hash(data: numbered.canonicalBytes))
            numbered.invoice.status = invoice.finalStatus
            numbered.invoice.issuedAt = now
            numbered.invoice.paidAt = invoice.finalStatus == .paid ? now : nil
            numbered.invoice.updatedAt = now
            numbered.invoice.revision += 1
            whole.append(numbered)
        }
        transaction.enqueue(InvoiceInsertion.documents(whole))
        return whole
    }

    /// What an invoice below zero owes to the tenant.
    private func owed(_ prepared: PreparedInvoice) -> CreditGrant? {
        let amount = prepared.document.amounts.carriedForward
        guard amount > .zero else { return nil }
        return CreditGrant(
            id: CreditGrantID(rawValue: ids.next()),
            tenantID: prepared.invoice.tenantID,
            kind: .prepaid,
            name: "Carried forward",
            currency: prepared.document.currency,
            amount: amount,
            remaining: amount,
            priority: 0,
            expiresAt: nil,
            origin: .invoice,
            originID: prepared.invoice.id.rawValue,
            createdAt: now,
            voidedAt: nil,
            updatedAt: now,
            revision: 1
        )
    }
}

extension PreparedInvoice {
    /// What credit paid whole, or was nothing, is paid.
    var finalStatus: InvoiceStatus {
        if invoice.kind == .adjustment, lines.isEmpty { return .void }
        return document.amounts.due.isZero ? .paid : .finalized
    }

    var creditUses: [CreditGrantStore.Use] {
        credits.sorted { $0.key < $1.key }.map {
            CreditGrantStore.Use(
                tenant: invoice.tenantID,
                invoice: invoice.id,
                grant: CreditGrantID(rawValue: $0.key),
                amount: $0.value
            )
        }
    }
}

extension [PlanVersionID: PlanVersion] {
    /// Beyond so many they are let go.
    private static var capacity: Int { 10_000 }

    /// Keeps the plan versions of subscriptions that were read.
    mutating func learn(from subscriptions: some Sequence<SubscriptionSnapshot>) {
        if count > Self.capacity { removeAll() }
        for subscription in subscriptions {
            for segment in subscription.segments { self[segment.published.id] = segment.published }
        }
    }
}
