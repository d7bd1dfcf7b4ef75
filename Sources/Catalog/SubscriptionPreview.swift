package import BillingCore
package import Postgres
package import Web

/// What this room asks of the room of invoices: the upcoming invoice of a tenant as its subscription, changed in this
/// very transaction, has it at an instant; nil where none is coming up.
package struct UpcomingInvoiceAccess: Sendable {
    package let upcoming: @Sendable (borrowing Transaction, TenantID, Instant) throws -> JSONValue?

    package init(upcoming: @escaping @Sendable (borrowing Transaction, TenantID, Instant) throws -> JSONValue?) {
        self.upcoming = upcoming
    }
}

/// The answer to a dry run: what would come of a change, of which nothing is stored.
struct SubscriptionPreview: Encodable, Sendable {
    /// The period that the change takes effect in, and what each segment has of it.
    struct Period: Encodable, Sendable {
        let start: Instant
        let end: Instant
        let isTrial: Bool
        let segments: [Part]
    }

    /// A part of the period under one plan version. Fees, commitment and included credit are prorated to the fraction.
    struct Part: Encodable, Sendable {
        struct Fraction: Encodable, Sendable {
            let numerator: Int64
            let denominator: Int64
        }

        let plan: String
        let version: Int
        let start: Instant
        let end: Instant
        let fraction: Fraction
    }

    struct Invoices: Encodable, Sendable {
        let before: JSONValue?
        let after: JSONValue?
    }

    /// An invoice that is due already, because the subscription starts in the past.
    struct Due: Encodable, Sendable, Equatable {
        struct Period: Encodable, Sendable, Equatable {
            let start: Instant
            let end: Instant
        }

        let invoiceKind: String
        let period: Period
    }

    let dryRun = true
    let effectiveAt: Instant
    let subscription: SubscriptionBody
    /// Nil where the subscription then covers nothing.
    let period: Period?
    /// What a new subscription would be invoiced at once, in drafts; nil for a change of one that exists.
    let invoicesDue: [Due]?
    let upcomingInvoice: Invoices
}

extension SubscriptionPreview.Due {
    /// The opening invoice of a new subscription that has begun, and the regular one of each period that is over.
    static func all(of subscription: SubscriptionSnapshot, at now: Instant) -> [Self] {
        let end = subscription.endsAt ?? .maximum
        var due: [Self] = []
        func add(_ kind: Invoice.Kind, _ period: Interval) {
            due.append(Self(invoiceKind: kind.rawValue, period: Period(start: period.start, end: period.end)))
        }
        var (index, period) = (0, subscription.interval(ofPeriod: 0))
        let fees = subscription.segments(inPeriod: 0).flatMap(\.planVersion.fees)
        if period.start <= now, period.start < end, fees.contains(where: { $0.charged == .inAdvance }) {
            add(.opening, period)
        }
        while min(period.end, end) <= now, period.start < end {
            add(.regular, period)
            index += 1
            period = subscription.interval(ofPeriod: index)
        }
        return due
    }
}

extension SubscriptionPreview.Period {
    init?(of subscription: SubscriptionSnapshot, at instant: Instant) {
        guard let period = subscription.period(containing: instant) else { return nil }
        start = period.interval.start
        end = period.interval.end
        isTrial = period.index == SubscriptionSnapshot.trialIndex
        segments = subscription.segments(inPeriod: period.index).map { part in
            let fraction = Proration(of: period.interval, within: part.interval)
            return SubscriptionPreview.Part(
                plan: part.planVersion.planKey,
                version: part.planVersion.version,
                start: part.interval.start,
                end: part.interval.end,
                fraction: .init(numerator: fraction.numerator, denominator: fraction.denominator)
            )
        }
    }
}
