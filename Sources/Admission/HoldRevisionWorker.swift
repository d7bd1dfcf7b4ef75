import BillingCore
import Catalog
import Limits
package import Logging
import Postgres
import Usage
import ServiceLifecycle
package import Web

/// Goes through the open calls that a changed plan or price may concern, see `HoldRevision`. Safe on every replica:
/// doing it twice changes nothing.
package struct HoldRevisionWorker: Service {
    private static let page = 500

    /// By how much another replica's clock may be ahead.
    private static let leewaySeconds: Int64 = 60

    private let revision: HoldRevision
    private let clock: Clock
    private let logger: Logger
    private let loop: WorkerLoop

    package init(
        admission: AdmissionService,
        clock: Clock,
        interval: Duration = .seconds(1),
        logger: Logger
    ) {
        revision = HoldRevision(admission)
        self.clock = clock
        self.logger = logger
        loop = WorkerLoop("hold_revision", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await reviseAll() }
    }

    package func reviseAll() async throws {
        try await HoldChangeStore.noteHorizons(pool: revision.pool)
        var failure: (any Error)?
        while !Task.isCancelled, let change = try await HoldChangeStore.take(pool: revision.pool) {
            do {
                try await revise(change)
                try await HoldChangeStore.finish(change, pool: revision.pool)
            } catch {
                if !error.isLockTimeout { failure = failure ?? error }
                try await HoldChangeStore.putOff(change, pool: revision.pool)
            }
        }
        if let failure { throw failure }
    }

    /// Goes through every open call that a change may concern. What one of them meets keeps none of the others from it.
    private func revise(_ change: HoldChangeStore.Change) async throws {
        let pool = revision.pool
        let isOfAll = change.tenant == .operatorWide
        // The change may have been made elsewhere a moment ago.
        try await revision.calls.refresh(StaleCatalog(tenants: isOfAll ? [] : [change.tenant], shared: true))
        let end = clock.now().adding(seconds: Self.leewaySeconds)
        var last: Reservation?
        var failure: (any Error)?
        var lockedUp: Set<TenantID> = []
        repeat {
            let open = try await pool.query(
                .worker,
                ReservationStore.open(
                    of: isOfAll ? nil : change.tenant,
                    madeBy: end,
                    after: last,
                    limit: Self.page
                ),
                ReservationStore.decodeOpen
            )
            last = open.count == Self.page ? open.last?.reservation : nil
            let names = open.map { TenantReservation(tenant: $0.reservation.tenantID, id: $0.reservation.id) }
            let holds = try await pool.query(.worker, ReservationStore.holds(of: names), ReservationStore.decodeHold)
            let holding = Dictionary(grouping: holds, by: \.reservation)
            for (name, (reservation, call)) in zip(names, open)
            where !Task.isCancelled && !lockedUp.contains(name.tenant) {
                do {
                    let held = holding[name, default: []].compactMap(\.hold)
                    try await revision.revise(reservation, call, holding: held, at: clock.now())
                } catch let error as DecimalError {
                    logger.error(
                        "what a call holds can't be worked out anew",
                        metadata: ["reservation": "\(name.id)", "error": "\(error)"]
                    )
                } catch {
                    if error.isLockTimeout { lockedUp.insert(name.tenant) }
                    failure = failure ?? error
                }
            }
        } while last != nil && !Task.isCancelled
        if let failure { throw failure }
        try Task.checkCancellation()
    }
}

extension Error {
    fileprivate var isLockTimeout: Bool { (self as? PostgresError)?.isLockTimeout ?? false }
}
