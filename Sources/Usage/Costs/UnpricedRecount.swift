import BillingCore
import Catalog

/// Counts anew which usage has no cost, as of one place in a tenant's ledger.
struct UnpricedRecount: Sendable {
    private let tenant: TenantSnapshot
    private let throughSequence: Int64
    private var counts: [UnpricedKey: UnpricedChanges.Count] = [:]
    /// What was rated meanwhile: it can't be told any more what it lacked before.
    private var unsettled: Set<UnpricedKey> = []

    init(tenant: TenantSnapshot, throughSequence: Int64) {
        self.tenant = tenant
        self.throughSequence = throughSequence
    }

    /// Counts one event that is not voided.
    mutating func add(_ stored: StoredEvent) throws(DecimalError) {
        if let later = stored.laterRating, later.ledgerSequence > throughSequence {
            for reason in UnpricedReason.allCases { unsettled.insert(key(stored, reason)) }
        } else if let reason = stored.unpricedReason(in: tenant.currency) {
            try counts[key(stored, reason), default: UnpricedChanges.Count()].add(stored.event)
        }
    }

    func differences(from kept: [UnpricedKey: UnpricedChanges.Count]) -> [UsageDifference] {
        Set(kept.keys).union(counts.keys).subtracting(unsettled).sorted().compactMap { key in
            let (left, right) = (kept[key] ?? UnpricedChanges.Count(), counts[key] ?? UnpricedChanges.Count())
            guard left != right else { return nil }
            let model = [key.provider, key.model].filter { !$0.isEmpty }.joined(separator: " ")
            return UsageDifference(
                tenant: tenant.key,
                subject: "unpriced usage of \(model.isEmpty ? "no model" : model), day of \(key.dayStart), "
                    + "for want of \(key.reason.words)",
                stored: left.words,
                rebuilt: right.words
            )
        }
    }

    private func key(_ stored: StoredEvent, _ reason: UnpricedReason) -> UnpricedKey {
        UnpricedKey(tenant: tenant.id, reason: reason, event: stored.event, time: stored.time)
    }
}

extension UnpricedReason {
    fileprivate var words: String {
        switch self {
        case .price: "a price"
        case .fxRate: "an exchange rate"
        }
    }
}

extension UnpricedChanges.Count {
    fileprivate var words: String { "\(events) events of \(inputTokens) and \(outputTokens) tokens" }
}
