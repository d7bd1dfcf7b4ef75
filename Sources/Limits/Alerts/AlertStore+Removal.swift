import BillingCore
import Postgres
import Web

extension AlertStore {
    /// Removes some of the alerts that were raised before a time and whose window, if they have one, ended before it.
    ///
    /// No kind can be raised again by then: days, windows of limits and ledger sequences have gone on, and what has
    /// fired stays noted in a limit's row for as long as usage in its window can raise any. The exception is usage that
    /// a plan does not price, which may still be reported for a billing period of any age: such an alert is emptied and
    /// hidden, and its key stays.
    /// - Returns: how many it were.
    static func remove(olderThan time: Instant, at now: Instant, limit: Int, pool: PostgresPool) async throws -> Int {
        let removed = try await pool.query(.worker, removal(olderThan: time, at: now, limit: limit)) {
            row throws(PostgresError) in try row.next(Int64.self)
        }
        return Int(removed.first ?? 0)
    }

    /// By the expression that `alert_by_age` has, which leaves out a window that there is not.
    static func removal(olderThan time: Instant, at now: Instant, limit: Int) -> SQL {
        """
        WITH old AS (
            SELECT tenant_id, alert_id, kind = \(AlertKind.unpricedUsage) AND window_end IS NOT NULL AS may_recur
            FROM alert
            WHERE removed_at IS NULL AND greatest(raised_at, window_end) < \(time)
            ORDER BY greatest(raised_at, window_end)
            LIMIT \(limit)
        ), emptied AS (
            UPDATE alert SET removed_at = \(now), detail = '{}', note = NULL, tenant_note = NULL
            FROM old
            WHERE alert.tenant_id = old.tenant_id AND alert.alert_id = old.alert_id AND old.may_recur
        ), deleted AS (
            DELETE FROM alert USING old
            WHERE alert.tenant_id = old.tenant_id AND alert.alert_id = old.alert_id AND NOT old.may_recur
        )
        SELECT count(*) FROM old
        """
    }
}
