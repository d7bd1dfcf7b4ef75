import BillingCore
import Catalog
import Postgres
import Usage
import Web

/// What invoices are computed from, read in bulk for drafts of any number of tenants, in three to five round trips.
struct InvoiceRecords: Sendable {
    var ledgers: [TenantID: Int64] = [:]
    var tenants: [TenantID: BilledTenant] = [:]
    var subscriptions: [SubscriptionID: SubscriptionSnapshot] = [:]
    var closings: [SubscriptionID: SubscriptionClosing] = [:]
    /// The periods with a row that the drafts are about, and those that need an adjustment.
    var periods: [SubscriptionID: [ClosingPeriod]] = [:]
    var counters: [BillingPeriodID: [CounterRow]] = [:]
    var invoiced: [SubscriptionID: [InvoiceItemKey: InvoicedAmount]] = [:]
    /// The rates that what was invoiced was taxed by.
    var invoicedRates: [SubscriptionID: [TaxRate]] = [:]
    /// The number of the last credit note that is counted in what was invoiced.
    var lastCreditNotes: [SubscriptionID: Int64] = [:]
    /// What may be used; also promotional credits that are used up, and may get something back.
    var credits: [TenantID: [CreditGrant]] = [:]
    /// Promotional credits that may get something back and are expired or void: it is lost.
    var unusableCredits: [TenantID: [CreditGrant]] = [:]
    var discounts: [TenantID: [DiscountRecord]] = [:]
    /// The periods of which the regular invoice is void and no other is final yet: what they are charged comes with
    /// the one in its place.
    private var leftToReissue: [SubscriptionID: Set<Int>] = [:]
    /// The periods that an invoice adjusted, where it is made anew.
    private let adjusted: [Int]?

    /// - Parameters:
    ///   - plans: plan versions that are known already.
    ///   - adjusted: the periods that the one invoice adjusted, where it is made anew.
    ///   - past: what was invoiced is what invoices and credit notes said then.
    ///   - now: when credits must not have expired.
    init(
        for drafts: [StoredInvoice],
        plans: [PlanVersionID: PlanVersion] = [:],
        adjusted: [Int]? = nil,
        before past: InvoicedAmountStore.Past? = nil,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        self.adjusted = adjusted
        let ids = Set(drafts.map(\.tenantID)).sorted()
        for tenant in try TenantSnapshotStore.read(ids, plans: plans, now: now, in: transaction) {
            for subscription in tenant.subscriptions { subscriptions[subscription.id] = subscription }
        }
        let wanted = drafts.flatMap { draft in
            (closingPeriods(of: draft) + (adjusted ?? [])).map { (draft.tenantID, draft.subscriptionID, $0) }
        }
        let results = try transaction.pipeline([
            TenantLedger.sequences(of: ids),
            TenantBillingStore.tenants(ids),
            CreditGrantStore.usable(by: ids, at: now),
            DiscountStore.usable(by: ids),
            PeriodClosingStore.periods(wanted),
            SubscriptionClosingStore.closings(of: drafts.map(\.tenantID), drafts.map(\.subscriptionID)),
            InvoiceStore.leftToReissue(of: drafts.filter { $0.kind == .adjustment }),
        ])
        ledgers = Dictionary(try results[0].map(TenantLedger.sequence)) { first, _ in first }
        tenants = Dictionary(try results[1].map(TenantBillingStore.tenant).map { ($0.id, $0) }) { first, _ in first }
        credits = Dictionary(grouping: try results[2].map(CreditGrantStore.grant), by: \.tenantID)
        discounts = Dictionary(grouping: try results[3].map(DiscountStore.discount), by: \.tenantID)
        periods = Dictionary(grouping: try results[4].map(PeriodClosingStore.period), by: \.period.subscriptionID)
        closings = Dictionary(try results[5].map(SubscriptionClosingStore.closing).map { ($0.subscriptionID, $0) }) {
            first,
            _ in first
        }
        for period in try results[6].map(InvoiceStore.periodLeftToReissue) {
            leftToReissue[period.subscription, default: []].insert(period.index)
        }
        let read = try transaction.pipeline([
            CounterStore.counters(of: periods.values.flatMap { $0 }.map(\.period)),
            InvoicedAmountStore.amounts(drafts.flatMap(wantedAmounts), before: past),
        ])
        counters = Dictionary(grouping: try read[0].map(CounterStore.decode), by: \.key.period)
        for amount in try read[1].map(InvoicedAmountStore.amount) {
            invoiced[amount.subscription, default: [:]][amount.key] = amount.amount
            if let note = amount.lastCreditNote {
                lastCreditNotes[amount.subscription] = max(lastCreditNotes[amount.subscription] ?? note, note)
            }
            if !amount.rates.isEmpty { invoicedRates[amount.subscription, default: []] += amount.rates }
        }
        try readUsedCredits(of: ids, now: now, in: transaction)
    }

    /// Reads the promotional credits that something may go back to and that are none of the usable ones.
    private mutating func readUsedCredits(
        of tenants: [TenantID],
        now: Instant,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        var used: Set<UUIDv7> = []
        for item in invoiced.values.flatMap(\.values) { used.formUnion(item.promotionalCredits.keys) }
        for grant in credits.values.flatMap({ $0 }) { used.remove(grant.id.rawValue) }
        guard !used.isEmpty else { return }
        let ids = used.sorted().map { CreditGrantID(rawValue: $0) }
        for grant in try transaction.query(CreditGrantStore.grants(ids, of: tenants), CreditGrantStore.grant) {
            let isUsable = grant.voidedAt == nil && (grant.expiresAt ?? .maximum) > now
            if isUsable {
                credits[grant.tenantID, default: []].append(grant)
            } else {
                unusableCredits[grant.tenantID, default: []].append(grant)
            }
        }
    }

    /// The earlier periods of a draft's subscription that need an adjustment, by ascending index.
    func adjustedPeriods(of draft: StoredInvoice) -> [Int] {
        if let adjusted { return adjusted }
        let rows = periods[draft.subscriptionID] ?? []
        let late = rows.filter { $0.needsAdjustment && $0.period.status == .final }
        var indices = Set(late.map(\.period.index))
        switch draft.kind {
        case .opening: return []
        case .regular: indices = indices.filter { $0 < draft.periodIndex }
        case .adjustment:
            let reissued = Set(rows.filter(\.awaitsReissue).map(\.period.index))
            let left = reissued.union(leftToReissue[draft.subscriptionID] ?? [])
            indices.formUnion(Set(endedPeriods(of: draft)).subtracting(left))
        }
        return indices.sorted()
    }

    /// The periods whose rows a draft's computation needs, beside those that need an adjustment.
    private func closingPeriods(of draft: StoredInvoice) -> [Int] {
        draft.kind == .adjustment ? endedPeriods(of: draft) : [draft.periodIndex]
    }

    /// The periods that an adjustment of an ended subscription reckons again, because its end may have moved into them.
    private func endedPeriods(of draft: StoredInvoice) -> [Int] {
        let most = 24
        guard let subscription = subscriptions[draft.subscriptionID], let end = subscription.endsAt else {
            return [draft.periodIndex]
        }
        let last = subscription.periods.index(containing: end) ?? 0
        return Array(max(last, draft.periodIndex - most)...max(last, draft.periodIndex))
    }

    private func wantedAmounts(_ draft: StoredInvoice) -> [InvoicedAmountStore.Wanted] {
        let own = draft.kind == .regular ? [draft.periodIndex, draft.periodIndex + 1] : [draft.periodIndex]
        return Set(own + adjustedPeriods(of: draft)).sorted().map { index in
            InvoicedAmountStore.Wanted(
                tenant: draft.tenantID,
                subscription: draft.subscriptionID,
                index: index,
                kind: draft.kind,
                invoicePeriod: draft.kind == .adjustment ? -1 : draft.periodIndex
            )
        }
    }
}
