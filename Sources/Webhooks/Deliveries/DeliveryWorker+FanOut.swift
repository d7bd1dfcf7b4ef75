import BillingCore
import Logging
import Postgres
import Web

/// Making deliveries of what waits in the outbox.
extension DeliveryWorker {
    /// Queues the deliveries of the events that wait, the tenants' in turn. A batch that meets something that can't be
    /// queued is halved until it is known what; the rest goes on. Of very many that can't be, each round meets some, so
    /// that what is queued is delivered meanwhile.
    /// - Parameter end: after which no further batch is begun; nil goes on to the last event.
    /// - Returns: whether more may wait than the batches took.
    @discardableResult
    func fanOut(_ batch: FanOutBatch, until end: ContinuousClock.Instant? = nil) async throws -> Bool {
        for suspect in try await OutboxSuspects.due(at: clock.now(), pool: pool) { _ = try await fanOut(suspect) }
        var failures = 0
        repeat {
            let size = batch.size
            do {
                if size == 1 {
                    guard let first = try await OutboxSuspects.first(after: batch.lastTenant, pool: pool) else {
                        return false
                    }
                    failures += try await fanOut(first) ? 0 : 1
                    batch.grow(endingWith: first.event.tenant)
                } else {
                    guard let last = try await fanOut(.next(size, after: batch.lastTenant)) else { return false }
                    batch.grow(endingWith: last)
                }
            } catch let error as PostgresError where error.isOfRows && size > 1 {
                batch.shrink()
            } catch {
                batch.shrink()
                throw error
            }
            if let end, ContinuousClock.now >= end { return true }
        } while failures < OutboxSuspects.batch && !Task.isCancelled
        return false
    }

    /// Queues one event and tells whether it could. That it can't be is noted with it, and nobody else's trouble.
    private func fanOut(_ suspect: OutboxSuspects.Suspect) async throws -> Bool {
        do {
            _ = try await fanOut(.one(suspect.event))
            return true
        } catch let error as PostgresError where error.isOfRows {
            let isSetAside = try await OutboxSuspects.note(suspect, at: clock.now(), pool: pool)
            if isSetAside { metrics.setAside() }
            logger.error(
                isSetAside ? "an event is set aside: it is told to nobody" : "an event cannot be queued",
                metadata: [
                    "tenant_id": "\(suspect.event.tenant)", "event": "\(suspect.event.id)", "error": "\(error)",
                ]
            )
            return false
        }
    }

    private func fanOut(_ selection: OutboxFanOut.Selection) async throws -> TenantID? {
        let now = clock.now()
        return try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            try OutboxFanOut.round(selection, at: now, ids: ids, in: transaction)
        }
    }
}
