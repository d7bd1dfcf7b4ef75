import BillingCore
import Catalog
import Limits
package import Logging
import Postgres
import ServiceLifecycle
package import Web

/// Goes through the open calls that a changed plan or price may concern, see `HoldRevision`. Safe on every replica:
/// doing it twice changes nothing.
package struct HoldRevisionWorker: Service {
    private static let page = 500

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
        revision = HoldRevision(admission: admission)
        self.clock = clock
        self.logger = logger
        loop = WorkerLoop("hold_revision", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await reviseAll() }
    }

    package func reviseAll() async throws {
        let pool = revision.admission.pool
        try await HoldChangeStore.noteHorizons(pool: pool)
        var failure: (any Error)?
        for change in try await HoldChangeStore.due(pool: pool) where !Task.isCancelled {
            do {
                try await revise(of: change.tenant == .operatorWide ? nil : change.tenant)
                try await HoldChangeStore.remove(change, pool: pool)
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    /// Every open call, of a tenant or of all. What one of them meets keeps none of the others from it; the change is
    /// gone through again then.
    private func revise(of tenant: TenantID?) async throws {
        let pool = revision.admission.pool
        var last: Reservation?
        var failure: (any Error)?
        repeat {
            let open = try await pool.query(
                .worker,
                ReservationStore.open(of: tenant, after: last, limit: Self.page),
                ReservationStore.decodeOpen
            )
            last = open.count == Self.page ? open.last?.reservation : nil
            let names = open.map { TenantReservation(tenant: $0.reservation.tenantID, id: $0.reservation.id) }
            let holds = try await pool.query(.worker, ReservationStore.holds(of: names), ReservationStore.decodeHold)
            let holding = Dictionary(grouping: holds, by: \.reservation)
            for (name, (reservation, call)) in zip(names, open) where !Task.isCancelled {
                do {
                    let held = holding[name, default: []].compactMap(\.hold)
                    try await revision.revise(reservation, call, holding: held, at: clock.now())
                } catch is DecimalError {
                    logger.error("what a call holds can't be worked out anew", metadata: ["reservation": "\(name.id)"])
                } catch {
                    failure = failure ?? error
                }
            }
        } while last != nil && !Task.isCancelled
        if let failure { throw failure }
    }
}
