import BillingCore
import Catalog
import Limits
import Postgres

/// The reservations that a flush's events settle. The first event of one frees its whole hold, unless it says that more
/// will follow: then it frees as much of each row as it uses. An event that comes when its reservation is no longer
/// held counts in full, like one that was never admitted.
struct Settlements {
    /// What each reservation still holds; absent where it is not held.
    private var holds: [TenantReservation: [LimitRow: FixedDecimal]] = [:]
    private var partly: Set<TenantReservation> = []
    private var ended: Set<TenantReservation> = []
    private(set) var notices: [EventNotice] = []

    /// Locks the reservations and closes those that are settled whole. Runs before any limit is locked.
    /// - Parameter settling: the events' reservations, and whether more will follow.
    init(
        _ settling: [(reservation: TenantReservation, isPartial: Bool)],
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        guard !settling.isEmpty else { return }
        var closings: [TenantReservation: ReservationStatus] = [:]
        for (reservation, isPartial) in settling {
            if !isPartial {
                closings[reservation] = .settled
            } else if closings[reservation] == nil {
                closings[reservation] = .held
            }
        }
        let held = try transaction.query(ReservationStore.close(closings, at: now), ReservationStore.decodeHold)
        for (reservation, _, hold) in held {
            var amounts = holds[reservation] ?? [:]
            if let hold { amounts[hold.row] = try (amounts[hold.row] ?? .zero).adding(hold.amount) }
            holds[reservation] = amounts
            if closings[reservation] == .held { partly.insert(reservation) }
        }
    }

    /// Notes an event in the order of its flush, and its sender is told where the reservation it names is not held any
    /// more, or never was, and where it is to settle something and names none beside `data`.
    mutating func note(_ pending: PendingEvent, of group: TenantGroup) {
        guard let reservation = pending.event.reservation(of: group.tenant.id) else {
            let event = pending.event
            if event.reservationPartial || event.misplacesReservation {
                notices.append(EventNotice(pending, .unsettled, of: group))
            }
            return
        }
        if holds[reservation] == nil || ended.contains(reservation) {
            notices.append(EventNotice(pending, .unsettled, of: group))
        } else if !pending.event.reservationPartial {
            ended.insert(reservation)
        }
    }

    /// What a use frees of a row that it counts in.
    mutating func take(_ row: LimitRow, of reservation: TenantReservation?, using amount: FixedDecimal, isPartial: Bool)
        -> FixedDecimal
    {
        guard let reservation, let held = holds[reservation]?[row] else { return .zero }
        let freed = isPartial ? min(held, max(.zero, amount)) : held
        holds[reservation]?[row] = (try? held.subtracting(freed)) ?? .zero
        return freed
    }

    /// What is left of a reservation's hold when an event has settled it whole; nothing of it is held any more.
    mutating func takeRest(of reservation: TenantReservation) -> [LimitRow: FixedDecimal] {
        guard let rest = holds[reservation] else { return [:] }
        holds[reservation] = [:]
        return rest
    }

    /// Writes how much is left of reservations that were settled in part.
    func enqueue(in transaction: borrowing Transaction) {
        guard !partly.isEmpty else { return }
        var rest: [TenantReservation: [ReservationHold]] = [:]
        for reservation in partly {
            rest[reservation] = (holds[reservation] ?? [:]).map { ReservationHold(row: $0.key, amount: $0.value) }
        }
        transaction.enqueue(ReservationStore.setHolds(rest, isPartlySettled: true))
    }
}
