import BillingCore
import Limits
import Logging
import Metrics
import Synchronization
import Web

/// Reservations that were committed when their callers had been told already that nothing is held, because it took too
/// long and no limit that they touch fails closed. Nobody asks for them again, so that they are taken back: without a
/// trace, because their ids may be used yet. What is not taken back before the process ends expires.
final class UnansweredReservations: Sendable {
    private let waiting = Mutex<[TenantID: [ReservationID]]>([:])
    private let closing: ReservationClosing
    private let clock: Clock
    private let takenBack = Counter(label: "turnpike_admissions_taken_back_total")

    init(_ closing: ReservationClosing, clock: Clock) {
        self.closing = closing
        self.clock = clock
    }

    func add(_ reservation: Reservation) {
        waiting.withLock { $0[reservation.tenantID, default: []].append(reservation.id) }
    }

    /// Takes back until shutdown, and then once more.
    func run(interval: Duration = .milliseconds(500)) async {
        let logger = Logger(label: "turnpike")
        let loop = WorkerLoop("unanswered_reservations", every: interval, clock: clock, logger: logger)
        await loop.run { try await self.takeBack() }
        try? await takeBack()
    }

    /// - Throws: what kept one of a tenant from being taken back; it is tried again the next time.
    private func takeBack() async throws {
        let taken = waiting.withLock { waiting in
            defer { waiting = [:] }
            return waiting
        }
        var failure: (any Error)?
        for (tenant, reservations) in taken {
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
