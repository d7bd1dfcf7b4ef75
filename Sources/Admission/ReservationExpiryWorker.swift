import BillingCore
package import Catalog
import Limits
package import Logging
import Metrics
package import Postgres
import ServiceLifecycle
package import Usage
package import Web

/// Ends reservations whose suspense is over without usage: frees what they hold, and raises an alert, because a caller
/// that neither reports nor releases loses somebody's money. What ends together of one tenant is one alert, so that a
/// gateway that was lost with thousands of calls does not bury what else there is to be told. Also forgets closed ones
/// after a while. Safe on every replica.
package struct ReservationExpiryWorker: Service {
    /// How many are looked up at once, of all tenants.
    private static let dueCount = 20_000
    /// How many of a tenant are ended in one transaction, and told in one alert.
    private static let endedTogether = 5_000
    private static let deletedCount = 500
    private static let deletedBatches = 200
    private static let keptDays: Int64 = 35

    private let pool: PostgresPool
    private let catalog: Catalog
    private let policy: LimitPolicy
    private let clock: Clock
    private let logger: Logger
    private let loop: WorkerLoop
    private let expired = Counter(label: "turnpike_reservations_expired_total")

    package init(
        pool: PostgresPool,
        catalog: Catalog,
        policy: LimitPolicy,
        clock: Clock,
        interval: Duration = .seconds(5),
        logger: Logger
    ) {
        self.pool = pool
        self.catalog = catalog
        self.policy = policy
        self.clock = clock
        self.logger = logger
        loop = WorkerLoop("reservation_expiry", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await expireDue() }
    }

    /// Ends what is due, and returns how many reservations that were.
    @discardableResult
    package func expireDue() async throws -> Int {
        let now = clock.now()
        var count = 0
        var due: [DueReservation] = []
        repeat {
            due = try await pool.query(
                .worker,
                ReservationStore.due(at: now, after: due.last, limit: Self.dueCount),
                ReservationStore.decodeDue
            )
            var ended: [Int?] = []
            var troubled: [(ids: [ReservationID], tenant: TenantID)] = []
            for (tenant, own) in Dictionary(grouping: due, by: \.name.tenant).sorted(by: { $0.key < $1.key }) {
                for start in stride(from: 0, to: own.count, by: Self.endedTogether) {
                    let together = own[start...].prefix(Self.endedTogether).map(\.name.id)
                    do {
                        ended.append(try await close(together, of: tenant, at: now, inHalves: false))
                    } catch {
                        troubled.append((together, tenant))
                    }
                }
            }
            // Each of them may take its time: when nobody waits for them any more.
            for (ids, tenant) in troubled { ended.append(await expire(ids, of: tenant, at: now)) }
            count += ended.reduce(0) { $0 + ($1 ?? 0) }
            // Where all went well and nothing was left to end, another replica is at it.
            if ended.allSatisfy({ $0 == 0 }) { break }
        } while due.count == Self.dueCount && !Task.isCancelled
        try await deleteClosed(before: now.adding(seconds: -86_400 * Self.keptDays))
        return count
    }

    /// Some of them in each round, so that what is due does not wait long.
    private func deleteClosed(before: Instant) async throws {
        for _ in 0..<Self.deletedBatches where !Task.isCancelled {
            let statement = ReservationStore.deleteClosed(before: before, limit: Self.deletedCount)
            guard try await pool.execute(.worker, statement) == Self.deletedCount else { return }
        }
    }

    /// One tenant's trouble must not keep the others' reservations open.
    /// - Returns: how many were ended; nil where they could not be.
    private func expire(_ reservations: [ReservationID], of tenant: TenantID, at now: Instant) async -> Int? {
        do {
            return try await close(reservations, of: tenant, at: now, inHalves: true)
        } catch {
            logger.error(
                "reservations of a tenant could not be ended",
                metadata: ["tenant_id": "\(tenant)", "error": "\(error)"]
            )
            return nil
        }
    }

    private func close(
        _ ids: [ReservationID],
        of tenant: TenantID,
        at now: Instant,
        inHalves: Bool
    ) async throws -> Int {
        let closing = ReservationClosing(catalog: catalog, pool: pool, policy: policy, lane: .worker)
        let closed = try await closing.close(ids, of: tenant, as: .expired, at: now, inHalves: inHalves) {
            found,
            tenant,
            transaction in
            let ended = ids.filter(found.contains)
            guard let first = ended.first else { return nil }
            let oldest = try transaction.first(
                ReservationStore.reservation(first, of: tenant.id),
                ReservationStore.decode
            )
            return oldest.map { AlertDraft(expired: $0, and: ended.dropFirst(), of: tenant) }
        }
        expired.increment(by: closed.count)
        return closed.count
    }
}

extension AlertDraft {
    private static let namedReservations = 100

    /// - Parameters:
    ///   - first: the oldest of those of the tenant that ended together.
    ///   - others: the rest of them.
    fileprivate init(expired first: Reservation, and others: ArraySlice<ReservationID>, of tenant: TenantSnapshot) {
        let named = others.prefix(Self.namedReservations)
        self.init(
            .reservationExpired,
            of: tenant.id,
            key: tenant.key,
            identity: [first.id.description],
            detail: .object([
                JSONMember(name: "reservations", value: .number("\(1 + others.count)")),
                JSONMember(name: "reservation", value: .string(first.id.description)),
                JSONMember(name: "source", value: .string(first.source)),
                JSONMember(name: "admission", value: .string(first.admissionID)),
                JSONMember(name: "created_at", value: .string(first.createdAt.description)),
                JSONMember(name: "expired_at", value: .string(first.expiresAt.description)),
                JSONMember(name: "others", value: .array(named.map { .string($0.description) })),
            ])
        )
    }
}
