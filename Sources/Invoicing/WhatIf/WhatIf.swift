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
        let current: Invoice
        let proposed: Invoice
        let comparison: WhatIfComparison
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
        let usage = PeriodUsage(counters)
        let proposal = proposal(inPeriod: index)
        let hasMatrix = proposed.definition.charges.contains { $0.price.isMatrix }
        let proposedUsage =
            hasMatrix
            ? try await replayed(proposal, index, throughSequence: sequence) : try pooled(usage)
        let current = try Self.invoice(of: subscription, index, usage)
        let proposed = try Self.invoice(of: proposal, index, proposedUsage)
        return Period(
            interval: subscription.interval(ofPeriod: index),
            current: current,
            proposed: proposed,
            comparison: try WhatIfComparison(current: current, proposed: proposed)
        )
    }

    /// A whole period as one invoice: its fees, in advance and in arrears, its usage, commitment and included credit,
    /// without what the tenant has beside its plan (discounts, credits, taxes).
    private static func invoice(
        of subscription: SubscriptionSnapshot,
        _ index: Int,
        _ usage: PeriodUsage
    ) throws(DecimalError) -> Invoice {
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
        return try Invoice(
            kind: .regular,
            period: interval,
            periods: [InvoicedPeriod(index: index, interval: interval, scope: .whole, segments: segments)],
            currency: subscription.segments[0].planVersion.currency
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

    /// What each feature of the proposed version used in the whole period, whatever segments it has.
    private func pooled(_ usage: PeriodUsage) throws(DecimalError) -> PeriodUsage {
        var counters: [PeriodCounter] = []
        for charge in proposed.definition.charges {
            let total = try usage.running(charge.featureID, segment: .max).through
            let key = CounterKey(
                tenant: tenant.id,
                period: BillingPeriodID(rawValue: -1),
                feature: charge.featureID
            )
            let state = CounterState(quantity: total.quantity, eventCount: total.eventCount, cost: total.cost)
            counters.append(PeriodCounter(segment: 0, row: CounterRow(key: key, state: state)))
        }
        return PeriodUsage(counters)
    }

    private func replayed(
        _ proposal: SubscriptionSnapshot,
        _ index: Int,
        throughSequence sequence: Int64
    ) async throws -> PeriodUsage {
        guard let part = proposal.segments(inPeriod: index).first else { return PeriodUsage([]) }
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
        return PeriodUsage(
            recount.counters.map { key, state in
                PeriodCounter(segment: 0, row: CounterRow(key: key, state: state))
            }
        )
    }
}

extension Price {
    fileprivate var isMatrix: Bool { if case .matrix = self { true } else { false } }
}
