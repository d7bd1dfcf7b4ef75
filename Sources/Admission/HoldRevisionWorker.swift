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

    /// Changes of so many tenants share a look at what is open.
    private static let takenTogether = 1_000

    /// Well within the minute that changes are taken for.
    private static let renewalInterval = Duration.seconds(10)

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
        revision = HoldRevision(admission, on: .worker, waiting: .milliseconds(100))
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
        while !Task.isCancelled {
            var changes = try await HoldChangeStore.take(atMost: Self.takenTogether, pool: revision.pool)
            if changes.isEmpty { break }
            var failures = Failures()
            do { try await revise(&changes, &failures) } catch { failures.noteOfAll(error) }
            try await HoldChangeStore.finish(changes.filter { !failures.concern($0.tenant) }, pool: revision.pool)
            try await HoldChangeStore.putOff(changes.filter { failures.concern($0.tenant) }, pool: revision.pool)
            failure = failure ?? failures.worst
        }
        if let failure { throw failure }
    }

    /// Goes once through every open call that changes may concern. What one call meets keeps none of the others from
    /// it.
    /// - Parameter changes: those that somebody else has taken over meanwhile are left out then.
    private func revise(_ changes: inout [HoldChangeStore.Change], _ failures: inout Failures) async throws {
        let pool = revision.pool
        let end = clock.now().adding(seconds: Self.leewaySeconds)
        let reserving = try await reserving(changes)
        var renewedAt = ContinuousClock.now
        var last: Reservation?
        while !changes.isEmpty {
            let tenants = reserving.map { reserving in changes.map(\.tenant).filter(reserving.contains) }
            if tenants?.isEmpty == true { break }
            let open = try await pool.query(
                .worker,
                ReservationStore.open(of: tenants, madeBy: end, after: last, limit: Self.page),
                ReservationStore.decodeOpen
            )
            try await revise(open, &failures)
            if renewedAt.duration(to: .now) > Self.renewalInterval {
                changes = try await HoldChangeStore.renew(changes, pool: pool)
                renewedAt = .now
            }
            try Task.checkCancellation()
            guard open.count == Self.page else { break }
            last = open.last?.reservation
        }
    }

    /// The tenants of changes that have reservations, which most that subscribe for the first time have not; nil where
    /// a change concerns everybody.
    private func reserving(_ changes: [HoldChangeStore.Change]) async throws -> Set<TenantID>? {
        let tenants = changes.map(\.tenant)
        if tenants.contains(.operatorWide) { return nil }
        let statement = ReservationStore.reserving(of: tenants)
        return try await Set(revision.pool.query(.worker, statement) { row throws(PostgresError) in try row.next() })
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
        let inForce = try await VersionsInForce(of: Set(names.map(\.tenant)), pool: revision.pool, lane: .worker)
        for (name, (reservation, call)) in zip(names, open)
        where !Task.isCancelled && !failures.lockedUp.contains(name.tenant) {
            do {
                let held = HeldReservation(holding[name, default: []])
                try await revision.revise(reservation, call, holding: held, by: inForce, at: clock.now())
            } catch {
                failures.note(error, of: name, logger)
            }
        }
    }

    /// What calls have met.
    private struct Failures {
        /// Tenants of which somebody has a row locked: their calls are left for the next time.
        private(set) var lockedUp: Set<TenantID> = []
        private var failed: Set<TenantID> = []
        private var isOfAll = false
        /// What is more than a locked row.
        private(set) var worst: (any Error)?

        mutating func noteOfAll(_ error: any Error) {
            isOfAll = true
            if !error.isLockTimeout { worst = worst ?? error }
        }

        mutating func note(_ error: any Error, of name: TenantReservation, _ logger: Logger) {
            if error.isLockTimeout {
                lockedUp.insert(name.tenant)
                return
            }
            logger.error(
                "what a call holds can't be worked out anew",
                metadata: ["tenant_id": "\(name.tenant)", "reservation": "\(name.id)", "error": "\(error)"]
            )
            // A sum that leaves its range does so the next time, too.
            if error is DecimalError { return }
            failed.insert(name.tenant)
            worst = worst ?? error
        }

        /// Whether a change has to be gone through again.
        func concern(_ tenant: TenantID) -> Bool {
            let met = failed.union(lockedUp)
            return isOfAll || (tenant == .operatorWide ? !met.isEmpty : met.contains(tenant))
        }
    }
}
