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
        while !Task.isCancelled, let taken = try await HoldChangeStore.take(pool: revision.pool) {
            var change = taken
            do {
                try await revise(&change)
                try await HoldChangeStore.finish(change, pool: revision.pool)
            } catch {
                if !error.isLockTimeout { failure = failure ?? error }
                try await HoldChangeStore.putOff(change, pool: revision.pool)
            }
        }
        if let failure { throw failure }
    }

    /// Goes through every open call that a change may concern, or until somebody else has taken the change over. What
    /// one call meets keeps none of the others from it.
    private func revise(_ change: inout HoldChangeStore.Change) async throws {
        let pool = revision.pool
        let isOfAll = change.tenant == .operatorWide
        let end = clock.now().adding(seconds: Self.leewaySeconds)
        var last: Reservation?
        var failures = Failures()
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
            try await revise(open, &failures)
            guard let renewed = try await HoldChangeStore.renew(change, pool: pool) else { return }
            change = renewed
        } while last != nil && !Task.isCancelled
        try failures.rethrow()
        try Task.checkCancellation()
    }

    private func revise(
        _ open: [(reservation: Reservation, call: ReservedCall)],
        _ failures: inout Failures
    ) async throws {
        let names = open.map { TenantReservation(tenant: $0.reservation.tenantID, id: $0.reservation.id) }
        let holds = try await revision.pool.query(
            .worker,
            ReservationStore.holds(of: names),
            ReservationStore.decodeHold
        )
        let holding = Dictionary(grouping: holds, by: \.reservation)
        let inForce = try await VersionsInForce(of: Set(names.map(\.tenant)), pool: revision.pool)
        for (name, (reservation, call)) in zip(names, open)
        where !Task.isCancelled && !failures.lockedUp.contains(name.tenant) {
            do {
                let held = holding[name, default: []].compactMap(\.hold)
                try await revision.revise(reservation, call, holding: held, by: inForce, at: clock.now())
            } catch {
                failures.note(error, of: name, logger)
            }
        }
    }

    /// What single calls have met.
    private struct Failures {
        /// Tenants of which somebody has a row locked: their calls are left for the next time.
        private(set) var lockedUp: Set<TenantID> = []
        private var lockTimeout: (any Error)?
        private var other: (any Error)?

        mutating func note(_ error: any Error, of name: TenantReservation, _ logger: Logger) {
            if error.isLockTimeout {
                lockedUp.insert(name.tenant)
                lockTimeout = error
                return
            }
            logger.error(
                "what a call holds can't be worked out anew",
                metadata: ["tenant_id": "\(name.tenant)", "reservation": "\(name.id)", "error": "\(error)"]
            )
            // A sum that leaves its range does so the next time, too.
            if !(error is DecimalError) { other = error }
        }

        func rethrow() throws {
            if let error = other ?? lockTimeout { throw error }
        }
    }
}

extension Error {
    fileprivate var isLockTimeout: Bool { (self as? PostgresError)?.isLockTimeout ?? false }
}
