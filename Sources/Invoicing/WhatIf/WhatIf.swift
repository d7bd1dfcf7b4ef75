import BillingCore
import Catalog
import Postgres
import Usage

/// A tenant's periods charged anew under another plan version, beside what they are charged now. Nothing is stored.
///
/// The usage comes from the counters where they tell what the version asks for, and from the raw events for a matrix
/// price, whose cells the counters need not keep.
struct WhatIf: Sendable {
    /// How many periods one request may ask about.
    static let maximumPeriods = 12

    struct Period: Sendable {
        let interval: Interval
        let current: Side
        let proposed: Side
        let comparison: WhatIfComparison
    }

    struct Side: Sendable {
        let invoice: Invoice
        /// What was used and is in no amount of it, as on an invoice.
        let unpriced: [InvoiceFacts.Unpriced]
    }

    let tenant: TenantSnapshot
    let subscription: SubscriptionSnapshot
    let proposed: PlanVersion
    let catalog: CatalogSnapshot
    let pool: PostgresPool

    /// - Parameter sequence: the tenant's ledger sequence whose usage is meant.
    /// - Throws: `UsageReplay.TooManyEvents`, and `DecimalError` when an amount does not fit.
    func period(_ index: Int, throughSequence sequence: Int64) async throws -> Period {
        let counters = try await pool.query(
            .interactive,
            as: .tenant(tenant.id.rawValue),
            CounterStore.counters(tenant: tenant.id, subscription: subscription.id, periodIndex: index),
            CounterStore.decodeOfPeriod
        )
        let proposal = proposal(inPeriod: index)
        let hasMatrix = proposed.definition.charges.contains { $0.price.isMatrix }
        let proposedUsage =
            hasMatrix
            ? try await replayed(proposal, index, throughSequence: sequence) : try pooled(counters)
        let current = try side(of: subscription, index, counters)
        let proposed = try side(of: proposal, index, proposedUsage)
        return Period(
            interval: subscription.interval(ofPeriod: index),
            current: current,
            proposed: proposed,
            comparison: try WhatIfComparison(current: current.invoice, proposed: proposed.invoice)
        )
    }

    /// A whole period as one invoice: its fees, in advance and in arrears, its usage, commitment and included credit,
    /// without what the tenant has beside its plan (discounts, credits, taxes).
    private func side(
        of subscription: SubscriptionSnapshot,
        _ index: Int,
        _ counters: [PeriodCounter]
    ) throws(DecimalError) -> Side {
        let usage = SegmentUsage(counters)
        let interval = subscription.interval(ofPeriod: index)
        var segments: [InvoicedSegment] = []
        for part in subscription.segments(inPeriod: index) {
            let plan = part.planVersion
            segments.append(
                InvoicedSegment(
                    ordinal: part.segment.ordinal,
                    active: part.interval,
                    fees: plan.fees,
                    minimumCommitment: plan.terms.minimumCommitment ?? .zero,
                    includedCredit: plan.terms.includedCredit ?? .zero,
                    usage: try usage.priced(in: part)
                )
            )
        }
        let invoice = try Invoice(
            kind: .regular,
            period: interval,
            periods: [InvoicedPeriod(index: index, interval: interval, scope: .whole, segments: segments)],
            currency: subscription.segments[0].planVersion.currency
        )
        return Side(invoice: invoice, unpriced: try unpriced(usage, of: subscription, index))
    }

    private func unpriced(
        _ usage: SegmentUsage,
        of subscription: SubscriptionSnapshot,
        _ index: Int
    ) throws(DecimalError) -> [InvoiceFacts.Unpriced] {
        let parts = subscription.segments(inPeriod: index)
        let lackingPrice = parts.flatMap { usage.unpriced(in: $0) }.sorted { $0.key < $1.key }.map { row in
            unpriced(row.state.quantity, row.key)
        }
        let lackingCost = parts.flatMap { part in
            usage.uncosted(in: part).sorted { $0.key < $1.key }.map { row in
                let uncosted = row.state.uncosted
                var use = unpriced(uncosted.quantity, row.key)
                use.uncosted = InvoiceFacts.Unpriced.Uncosted(events: uncosted.eventCount, period: part.interval)
                return use
            }
        }
        return try (lackingPrice + lackingCost).shortened()
    }

    private func unpriced(_ quantity: FixedDecimal, _ key: CounterKey) -> InvoiceFacts.Unpriced {
        let feature = catalog.features[key.feature]
        return InvoiceFacts.Unpriced(
            feature: feature?.key ?? key.feature.description,
            cell: key.cell,
            quantity: quantity,
            unit: feature?.unit ?? ""
        )
    }

    /// The subscription as it would be with nothing but the proposed version, its period under an id of no row.
    private func proposal(inPeriod index: Int) -> SubscriptionSnapshot {
        let period = BillingPeriod(
            id: BillingPeriodID(rawValue: -1),
            tenantID: tenant.id,
            subscriptionID: subscription.id,
            index: index,
            interval: subscription.interval(ofPeriod: index),
            status: .open
        )
        return SubscriptionSnapshot(
            id: subscription.id,
            planVersion: proposed,
            periods: subscription.periods,
            startsAt: subscription.startsAt,
            endsAt: subscription.endsAt,
            billingPeriodIDs: BillingPeriodIDs().adding([period]),
            near: period.interval.start
        )
    }

    /// What was used of each feature in the whole period, whatever segments it has.
    private func pooled(_ counters: [PeriodCounter]) throws(DecimalError) -> [PeriodCounter] {
        let usage = PeriodUsage(counters)
        let features = Dictionary(grouping: counters.map(\.row).filter { $0.key.isPooled }, by: \.key.feature)
        var pooled: [PeriodCounter] = []
        for (feature, rows) in features {
            let total = try usage.running(feature, segment: .max).through
            let key = CounterKey(tenant: tenant.id, period: BillingPeriodID(rawValue: -1), feature: feature)
            var state = CounterState(quantity: total.quantity, eventCount: total.eventCount, cost: total.cost)
            for row in rows {
                state.uncosted.eventCount += row.state.uncosted.eventCount
                state.uncosted.quantity = try state.uncosted.quantity.adding(row.state.uncosted.quantity)
            }
            pooled.append(PeriodCounter(segment: 0, row: CounterRow(key: key, state: state)))
        }
        return pooled
    }

    private func replayed(
        _ proposal: SubscriptionSnapshot,
        _ index: Int,
        throughSequence sequence: Int64
    ) async throws -> [PeriodCounter] {
        guard let part = proposal.segments(inPeriod: index).first else { return [] }
        let snapshot = TenantSnapshot(
            id: tenant.id,
            key: tenant.key,
            name: tenant.name,
            currency: tenant.currency,
            zone: tenant.zone,
            catalogVersion: tenant.catalogVersion,
            subscriptions: [proposal]
        )
        let recount = try await UsageReplay(pool: pool, tenant: tenant.id).run(
            over: part.interval,
            throughSequence: sequence,
            into: UsageRecount(
                tenant: snapshot,
                periods: [],
                catalog: catalog,
                costsThroughSequence: sequence
            )
        )
        return recount.counters.map { key, state in
            PeriodCounter(segment: 0, row: CounterRow(key: key, state: state))
        }
    }
}

extension Price {
    fileprivate var isMatrix: Bool { if case .matrix = self { true } else { false } }
}
