import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// Ends reservations that no usage settled: by their callers, or because their suspense is over. Runs under the
/// tenant's ledger lock, so that it takes turns with the events that settle them.
struct ReservationClosing: Sendable {
    /// Makes of what was closed what is to be raised for it, in the same transaction.
    typealias Telling = @Sendable (Set<ReservationID>, TenantSnapshot, borrowing Transaction) throws -> AlertDraft?

    private static let attempts = 4
    /// Who asks on and on for what somebody has locked for long must not take every connection meanwhile.
    static let patience = Duration.seconds(2)

    let catalog: Catalog
    let pool: PostgresPool
    let policy: LimitPolicy
    let lane: PostgresLane

    /// Closes those of a tenant's reservations that are still held, and frees what they hold: together, or, where
    /// what they hold leaves the range of an amount as a sum, in halves.
    /// - Parameters:
    ///   - inHalves: whether those that can't be closed together are parted.
    ///   - forgets: whether no trace of them stays, and their ids name other calls again. Those that were asked for
    ///     again are left.
    ///   - alert: tells of those that were closed, if any were.
    /// - Returns: which those were; none where there is no such tenant.
    func close(
        _ reservations: [ReservationID],
        of tenantID: TenantID,
        as status: ReservationStatus,
        at now: Instant,
        inHalves: Bool = true,
        forgets: Bool = false,
        alert: @escaping Telling = { _, _, _ in nil }
    ) async throws -> Set<ReservationID> {
        var attempt = 1
        while true {
            do {
                return try await closeOnce(reservations, of: tenantID, as: status, at: now, forgets, alert)
            } catch let stale as StaleCatalog where attempt < Self.attempts {
                for tenant in stale.tenants { catalog.invalidate(tenant: tenant) }
                attempt += 1
            } catch  where inHalves && reservations.count > 1 && error.isOfOneReservation {
                break
            }
        }
        let middle = reservations.count / 2
        var closed: Set<ReservationID> = []
        var failure: (any Error)?
        for half in [reservations[..<middle], reservations[middle...]].map(Array.init) {
            do {
                closed.formUnion(
                    try await close(half, of: tenantID, as: status, at: now, forgets: forgets, alert: alert)
                )
            } catch {
                failure = failure ?? error
            }
        }
        // What is left is tried again, and fails alone then.
        if closed.isEmpty, let failure { throw failure }
        return closed
    }

    private func closeOnce(
        _ reservations: [ReservationID],
        of tenantID: TenantID,
        as status: ReservationStatus,
        at now: Instant,
        _ forgets: Bool,
        _ alert: Telling
    ) async throws -> Set<ReservationID> {
        guard let tenant = try await catalog.tenant(tenantID, lane: lane) else { return [] }
        let surroundings = LimitSurroundings(policy, shared: catalog.current, now: now)
        return try await pool.transaction(lane, retries: .idempotent(attempts: 4)) { transaction in
            if lane == .interactive || forgets { transaction.waitForLocks(atMost: Self.patience) }
            guard try TenantLedger.lock(tenant.id, in: transaction)?.catalogVersion == tenant.catalogVersion else {
                throw StaleCatalog(tenants: [tenant.id], shared: false)
            }
            let names = reservations.map { TenantReservation(tenant: tenant.id, id: $0) }
            let closings = Dictionary(names.map { ($0, status) }) { first, _ in first }
            let closing = ReservationStore.close(closings, at: now, sparesRepeated: forgets)
            let held = try transaction.query(closing, ReservationStore.decodeHold)
            let closed = Set(held.map(\.reservation.id))
            guard !closed.isEmpty else { return [] }
            if forgets { transaction.enqueue(ReservationStore.forget(Set(held.map(\.reservation)))) }
            var tally = LimitTally()
            for hold in held.compactMap(\.hold) { try tally.release(hold.amount, of: hold.row, by: tenant) }
            var alerts = try tally.write(surroundings, in: transaction)
            if let leak = try alert(closed, tenant, transaction) { alerts.append(leak) }
            try AlertStore.raise(alerts, at: now, ids: policy.ids, in: transaction)
            return closed
        }
    }
}

extension Error {
    /// Whether one of several reservations may be to blame, so that the others can be closed without it.
    fileprivate var isOfOneReservation: Bool { self is DecimalError || (self as? PostgresError)?.isOfRows == true }
}
