import BillingCore
import Catalog
import Limits
import Postgres
import Usage

/// Ends reservations that no usage settled: by their callers, or because their suspense is over. Runs under the tenant's
/// ledger lock, so that it takes turns with the events that settle them.
struct ReservationClosing: Sendable {
    let tenant: TenantSnapshot
    let shared: CatalogSnapshot
    let policy: LimitPolicy
    let now: Instant

    /// Closes those that are still held, and frees what they hold.
    /// - Returns: which those were.
    func close(
        _ reservations: [ReservationID],
        as status: ReservationStatus,
        in transaction: borrowing Transaction
    ) throws -> Set<ReservationID> {
        _ = try TenantLedger.lock(tenant.id, in: transaction)
        let names = reservations.map { TenantReservation(tenant: tenant.id, id: $0) }
        let closings = Dictionary(names.map { ($0, status) }) { first, _ in first }
        let closed = try transaction.query(ReservationStore.close(closings, at: now), ReservationStore.decodeName)
        guard !closed.isEmpty else { return [] }
        var tally = LimitTally()
        for hold in try transaction.query(ReservationStore.holds(of: closed), ReservationStore.decodeHold) {
            try tally.release(hold.amount, of: hold.row, by: tenant)
        }
        transaction.enqueue(ReservationStore.deleteHolds(of: closed))
        let alerts = try tally.write(LimitSurroundings(policy, shared: shared, now: now), in: transaction)
        try AlertStore.raise(alerts, at: now, ids: policy.ids, in: transaction)
        return Set(closed.map(\.id))
    }
}
