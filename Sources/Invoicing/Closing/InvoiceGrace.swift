import BillingCore

/// How long a draft waits before it is finalised by itself.
///
/// It counts from the moment of drafting, which is never before what the invoice is for: a subscription's start or a
/// period's end. So everybody has all of it to look at an invoice, however late it is drafted, and no invoice is issued
/// unseen because it starts in the past.
package struct InvoiceGrace: Sendable, Hashable {
    package let hours: Int

    package init(hours: Int) {
        self.hours = hours
    }

    /// When what is drafted at an instant is due to be finalised.
    /// - Parameter asOf: what a run of closing takes for the present. Without grace its drafts are due at once.
    func end(draftedAt now: Instant, asOf: Instant) -> Instant {
        hours == 0 ? asOf : now.adding(seconds: Int64(hours) * 3_600)
    }
}
