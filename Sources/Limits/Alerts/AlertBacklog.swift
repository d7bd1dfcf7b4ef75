import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// All SQL on `alert_waiting`.
enum AlertBacklog {
    static func insertion(of alerts: [NewAlert]) -> SQL {
        """
        INSERT INTO alert_waiting (\(NewAlert.columns))
        \(NewAlert.rows(alerts))
        """
    }

    /// Takes the oldest of a tenant that nobody else is taking, and that follow one of them. They are chosen once,
    /// in an array: a join would run the sub-select again and choose others.
    static func take(
        _ limit: Int,
        of tenant: TenantID,
        after last: AlertID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [NewAlert] {
        try transaction.query(
            """
            DELETE FROM alert_waiting
            WHERE tenant_id = \(tenant) AND alert_id = ANY(ARRAY(
                SELECT alert_id FROM alert_waiting WHERE tenant_id = \(tenant) AND alert_id > \(last)
                ORDER BY alert_id LIMIT \(limit) FOR UPDATE SKIP LOCKED
            ))
            RETURNING \(NewAlert.columns)
            """,
            NewAlert.decode
        )
    }

    /// Which one of a tenant follows; nil where none does.
    static func next(of tenant: TenantID, after last: AlertID, pool: PostgresPool) async throws -> AlertID? {
        try await pool.query(
            .worker,
            """
            SELECT alert_id FROM alert_waiting WHERE tenant_id = \(tenant) AND alert_id > \(last)
            ORDER BY alert_id LIMIT 1
            """
        ) { row throws(PostgresError) in try row.next(AlertID.self) }.first
    }

    /// Whose alerts wait, each found by the one before.
    static func tenants(pool: PostgresPool) async throws -> [TenantID] {
        try await pool.query(
            .worker,
            """
            WITH RECURSIVE owner AS (
                SELECT min(tenant_id) AS tenant_id FROM alert_waiting
                UNION ALL
                SELECT (SELECT min(tenant_id) FROM alert_waiting WHERE alert_waiting.tenant_id > owner.tenant_id)
                FROM owner WHERE tenant_id IS NOT NULL
            )
            SELECT tenant_id FROM owner WHERE tenant_id IS NOT NULL ORDER BY tenant_id
            """
        ) { row throws(PostgresError) in try row.next(TenantID.self) }
    }
}

/// Raises, a piece at a time, the alerts of transactions that had too many for one. Safe on every replica.
package struct AlertBacklogWorker: Service {
    private let pool: PostgresPool
    private let loop: WorkerLoop

    package init(pool: PostgresPool, clock: Clock, interval: Duration = .seconds(1), logger: Logger) {
        self.pool = pool
        loop = WorkerLoop("alert_backlog", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await raiseWaiting() }
    }

    /// Tenants take turns, so that one with very many holds up no other's.
    ///
    /// What meets an alert that can't be raised is halved until it is known which. That one stays, and fails the round
    /// once the others are raised.
    package func raiseWaiting() async throws {
        var places: [TenantID: Place] = [:]
        var isDone = false
        while !isDone {
            isDone = true
            for tenant in try await AlertBacklog.tenants(pool: pool) where !Task.isCancelled {
                var place = places[tenant, default: Place()]
                if try await raise(of: tenant, at: &place) { isDone = false }
                places[tenant] = place
            }
        }
        if let failure = places.values.lazy.compactMap(\.failure).first { throw failure }
    }

    /// How far a tenant's are raised.
    private struct Place {
        var limit = AlertStore.atOnce
        var last = AlertID(rawValue: .zero)
        var failure: PostgresError?
    }

    /// Raises some of a tenant's.
    /// - Returns: whether more may wait.
    private func raise(of tenant: TenantID, at place: inout Place) async throws -> Bool {
        do {
            let count = try await raise(place.limit, of: tenant, after: place.last)
            defer { place.limit = min(AlertStore.atOnce, 2 * place.limit) }
            return count == place.limit
        } catch let error as PostgresError where error.isOfRows {
            place.failure = place.failure ?? error
            guard place.limit == 1 else {
                place.limit /= 2
                return true
            }
            guard let found = try await AlertBacklog.next(of: tenant, after: place.last, pool: pool) else {
                return false
            }
            place.last = found
            return true
        }
    }

    /// - Returns: how many there were.
    private func raise(_ limit: Int, of tenant: TenantID, after last: AlertID) async throws -> Int {
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let alerts = try AlertBacklog.take(limit, of: tenant, after: last, in: transaction)
            try AlertStore.insert(alerts, in: transaction)
            return alerts.count
        }
    }
}
