package import BillingCore
import Catalog

/// An event that has been decoded, attributed to a tenant and measured, and waits to be stored; or a call that is
/// described like one and asks for admission. A class, because it is looked at many times on its way, and a copy would
/// count a dozen references each time.
package final class PendingEvent: Sendable {
    package let event: UsageEvent
    /// The event's own time, or the time of receipt where it had none.
    package let time: Instant
    let receivedAt: Instant
    /// Its position in the request it came with.
    let index: Int
    let measurements: [Measurement]
    /// `nil` when no subscription covers its time.
    let place: EventPlace?
    let cost: CallCost

    init(
        event: UsageEvent,
        time: Instant,
        receivedAt: Instant,
        index: Int,
        measurements: [Measurement],
        place: EventPlace?,
        cost: CallCost = .none
    ) {
        self.event = event
        self.time = time
        self.receivedAt = receivedAt
        self.index = index
        self.measurements = measurements
        self.place = place
        self.cost = cost
    }
}

/// The events of one request that belong to one tenant, prepared against one version of the catalogue.
struct TenantGroup: Sendable {
    let tenant: TenantSnapshot
    var events: [PendingEvent]
    /// Which of the flush's submissions the events came with.
    var submission = 0
}

/// An event whose subject names no tenant.
struct UnmatchedEvent: Sendable {
    let event: UsageEvent
    let time: Instant
    let receivedAt: Instant
    let index: Int
    var submission = 0
}

/// What became of an event. Every event ends in exactly one of `accepted`, `duplicate`, `conflict`, `unmatched` and
/// `rejected`; `unmetered`, `unsubscribed` and `unpriced` are accepted events that do not count everywhere, `unsettled`
/// those that name a reservation which is not held any more, or never was, or are to settle a part of none.
package enum EventStatus: String, Sendable, CaseIterable {
    case accepted
    case duplicate
    case conflict
    case unmatched
    case unmetered
    case unsubscribed
    case unpriced
    case unsettled
    case rejected
}

/// An event that was not plainly accepted.
struct EventNotice: Sendable, Hashable {
    let submission: Int
    let index: Int
    let id: String
    let status: EventStatus
}

extension EventNotice {
    init(_ pending: PendingEvent, _ status: EventStatus, of group: TenantGroup) {
        self.init(submission: group.submission, index: pending.index, id: pending.event.id, status: status)
    }
}

extension PendingEvent {
    /// The remark on an event that is stored and counted, if any.
    var remark: EventStatus? {
        if measurements.isEmpty { return .unmetered }
        guard let plan = place?.planVersion else { return .unsubscribed }
        return measurements.allSatisfy { $0.isPriced(by: plan) } ? nil : .unpriced
    }
}

extension Measurement {
    /// Whether the plan says what the usage costs: by a charge, in each cell of a matrix, or by a quota alone.
    func isSold(by plan: PlanVersion) -> Bool {
        plan.mentions(feature) && cells.allSatisfy { plan.matrices[feature]?.price(ofCell: $0.cell) != nil }
    }

    /// Whether it is sold at a price that is known: one that follows the provider cost says nothing where that is not.
    func isPriced(by plan: PlanVersion) -> Bool {
        guard isSold(by: plan) else { return false }
        if cost == nil, case .costPlus = plan.charges[feature] { return false }
        return cells.allSatisfy { part in
            if part.cost == nil, case .costPlus = plan.matrices[feature]?.price(ofCell: part.cell) {
                false
            } else {
                true
            }
        }
    }
}

extension UsageEvent {
    /// About how much memory its text takes: what is bounded tightly counts as a constant.
    var byteCount: Int { 512 + (data?.utf8.count ?? 0) + (extensions?.utf8.count ?? 0) }
}
