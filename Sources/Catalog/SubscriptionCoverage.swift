package import BillingCore

/// Since when a subscription has covered what it covers. Usage that was stored before counts in no limit of which the
/// plan tells what counts, though the subscription rates it.
package struct SubscriptionCoverage: Sendable {
    /// That the subscription was made, or came to end later.
    struct Start: Sendable {
        /// Usage of that time or later is covered since.
        let from: Instant
        /// The tenant's place in its ledger then.
        let ledgerSequence: Int64
    }

    /// Not the making of one of before that was noted.
    let starts: [Start]

    /// Whether usage was covered when it was stored.
    package func coveredWhenStored(time: Instant, ledgerSequence: Int64) -> Bool {
        !starts.contains { time >= $0.from && ledgerSequence <= $0.ledgerSequence }
    }
}
