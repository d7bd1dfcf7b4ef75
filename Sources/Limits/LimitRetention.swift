package import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// Removes the rows of windows that ended long ago, those beside a limit that hold nothing any more, and rates that
/// nobody has used for a while: a budget for each user has a row for every user and window. Safe on every replica.
package struct LimitRetention: Service {
    /// How long a window is kept when it has ended: until the same window of a year later has ended too.
    package static let keptDays: Int64 = 400
    private static let batch = 5_000
    private static let limitsLockID: Int64 = 0x7475_726E_6C69_6D72
    private static let ratesLockID: Int64 = 0x7475_726E_6C69_6D73

    private let pool: PostgresPool
    private let clock: Clock
    private let loop: WorkerLoop

    package init(pool: PostgresPool, clock: Clock, interval: Duration = .seconds(6 * 3_600), logger: Logger) {
        self.pool = pool
        self.clock = clock
        loop = WorkerLoop("limit_retention", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await sweep() }
    }

    /// Whether the rows of a window may have been removed by now, so that nothing follows from their absence.
    package static func mayBeGone(windowUntil end: Instant, at now: Instant) -> Bool {
        end < daysAgo(keptDays, from: now)
    }

    fileprivate static func daysAgo(_ days: Int64, from now: Instant) -> Instant {
        now.adding(seconds: -days * 86_400)
    }

    /// Looks at every row once, and removes what is over. Where another replica is at it, that one goes on alone.
    package func sweep() async throws {
        let now = clock.now()
        let unused = Self.daysAgo(1, from: now)
        var failure: (any Error)?
        do {
            try await removeAll(Self.limitsLockID) { LimitStateStore.remove(after: $0, over: now, limit: Self.batch) }
        } catch {
            failure = error
        }
        try await removeAll(Self.ratesLockID) {
            RateStateStore.remove(after: $0, unusedSince: unused, limit: Self.batch)
        }
        if let failure { throw failure }
    }

    /// - Parameter page: removes what is over of the rows that follow one, and answers the last it has looked at.
    private func removeAll(_ lock: Int64, _ page: (LimitRow) -> SQL) async throws {
        var row: LimitRow? = LimitRow(tenant: .operatorWide, limit: LimitID(0), windowStart: .minimum)
        while let last = row, !Task.isCancelled { row = try await removeSome(page(last), lock) }
    }

    /// - Returns: the last row that was looked at; nil when there is none, or another replica is at it.
    private func removeSome(_ statement: SQL, _ lock: Int64) async throws -> LimitRow? {
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            guard try transaction.tryLock(lock) else { return nil }
            // Pages are read in the order of an index, also where the table was not analysed.
            transaction.enqueue("SET LOCAL enable_sort = off")
            return try transaction.first(statement, LimitRow.decode)
        }
    }
}

extension LimitStateStore {
    /// Removes of the next rows, in the order of `limit_state_by_limit`, those that are over and hold nothing, and
    /// answers which was the last of them. A row that somebody changes meanwhile is looked at as it is then.
    fileprivate static func remove(after last: LimitRow, over now: Instant, limit: Int) -> SQL {
        let kept = LimitRetention.daysAgo(LimitRetention.keptDays, from: now)
        let yesterday = LimitRetention.daysAgo(1, from: now)
        // Of a window without an end: when nothing can be held in a billing period any more.
        let held = LimitRetention.daysAgo(2 * Reservation.longestLifeDays, from: now)
        return """
            WITH page AS MATERIALIZED (
                SELECT tenant_id, limit_id, scope_value, window_start
                FROM limit_state
                WHERE (limit_id, window_start, tenant_id, scope_value)
                    > (\(last.limit), \(last.windowStart), \(last.tenant), \(last.scopeValue))
                ORDER BY limit_id, window_start, tenant_id, scope_value
                LIMIT \(limit)
            ), removed AS (
                DELETE FROM limit_state AS state
                USING page
                WHERE \(LimitRowColumns.isRow(of: "page"))
                    AND state.held = 0 AND (
                        state.window_end
                            < CASE WHEN \(LimitRowColumns.isPart("state")) THEN \(yesterday) ELSE \(kept) END
                        OR state.scope_value LIKE '#%/%' AND EXISTS (
                            SELECT FROM billing_period AS period
                            WHERE period.tenant_id = state.tenant_id AND period.ends_at < \(held)
                                AND period.billing_period_id
                                    = split_part(substr(state.scope_value, 2), '/', 1)::bigint
                        )
                    )
            )
            SELECT tenant_id, limit_id, scope_value, window_start
            FROM page
            ORDER BY limit_id DESC, window_start DESC, tenant_id DESC, scope_value DESC
            LIMIT 1
            """
    }
}

extension RateStateStore {
    /// The same of rates whose whole burst has been there since a time: what is not there has not been used.
    fileprivate static func remove(after last: LimitRow, unusedSince time: Instant, limit: Int) -> SQL {
        """
        WITH page AS MATERIALIZED (
            SELECT tenant_id, limit_id, scope_value
            FROM rate_state
            WHERE (limit_id, tenant_id, scope_value) > (\(last.limit), \(last.tenant), \(last.scopeValue))
            ORDER BY limit_id, tenant_id, scope_value
            LIMIT \(limit)
        ), removed AS (
            DELETE FROM rate_state AS state
            USING page
            WHERE \(LimitRowColumns.isRate(of: "page")) AND state.arrival < \(FixedDecimal(time.microseconds))
        )
        SELECT tenant_id, limit_id, scope_value, \(Interval.allTime.start)::timestamptz
        FROM page
        ORDER BY limit_id DESC, tenant_id DESC, scope_value DESC
        LIMIT 1
        """
    }
}
