import BillingCore
import Limits
import Logging
import Metrics
import Synchronization
import Web

/// Reservations that were committed when their callers had been told already that nothing is held, because it took too
/// long and no limit that they touch fails closed; or that may have been, when their callers may yet be told so. They
/// are taken back, unless somebody has asked for them again meanwhile, here or on another replica
/// (`ReservationStore.noteRepeated`), and without a trace, because their ids may be used yet. What is not taken back
/// before the process ends expires.
final class UnansweredReservations: Sendable {
    private let waiting = Mutex<[TenantID: [ReservationID]]>([:])
    private let closing: ReservationClosing
    private let clock: Clock
    private let logger: Logger
    private let takenBack = Counter(label: "turnpike_admissions_taken_back_total")

    init(_ closing: ReservationClosing, clock: Clock, logger: Logger) {
        self.closing = closing
        self.clock = clock
        self.logger = logger
    }

    func add(_ reservation: Reservation) {
        waiting.withLock { $0[reservation.tenantID, default: []].append(reservation.id) }
    }

    /// Takes back until shutdown.
    func run(interval: Duration = .milliseconds(500)) async {
        let loop = WorkerLoop("unanswered_reservations", every: interval, clock: clock, logger: logger)
        await loop.run { try await self.takeBack() }
    }

    /// Takes back what was committed last, as far as that can be had: the rest expires.
    func runLast() async {
        do {
            try await takeBack()
        } catch {
            logger.warning("late reservations are left to expire", metadata: ["error": "\(error)"])
        }
    }

    /// - Throws: what kept one of a tenant from being taken back; it is tried again the next time.
    private func takeBack() async throws {
        let taken = waiting.withLock { waiting in
            defer { waiting = [:] }
            return waiting
        }
        var failure: (any Error)?
        for (tenant, reservations) in taken where !reservations.isEmpty {
            do {
                let now = clock.now()
                let closed = try await closing.close(reservations, of: tenant, as: .released, at: now, forgets: true)
                takenBack.increment(by: closed.count)
            } catch {
                failure = error
                waiting.withLock { $0[tenant, default: []] += reservations }
            }
        }
        if let failure { throw failure }
    }
}
