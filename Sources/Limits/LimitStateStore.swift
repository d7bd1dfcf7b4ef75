package import BillingCore
import Catalog
package import Postgres

/// All SQL over `limit_state`. Statements that lock several rows take them in one order: the operator's after all
/// tenants', because everybody wants those, then by key.
package enum LimitStateStore {
    /// Counts usage and frees what reservations held, making the rows that do not exist yet, and answers each row's new
    /// state. The amount in force comes with it: a newer definition replaces the row's, and what it leaves above the
    /// limit is overshoot.
    package static func count(_ changes: [LimitChange]) -> SQL {
        let rest: SQL = "state.held - excluded.held"
        return change(rows(changes, held: changes.map(\.released)), held: rest, exceeding: rest)
    }

    /// The same, but adds to what is held, which is no overshoot by itself.
    package static func hold(_ changes: [LimitChange]) -> SQL {
        hold(rows(changes, held: changes.map(\.held)))
    }

    /// The same, but of holds that are no overshoot, and fails the transaction where they exceed one of these limits.
    package static func hold(_ changes: [LimitChange], within limits: Set<LimitID>) -> SQL {
        """
        \(hold(rows(changes, held: changes.map(\.held), countsUse: false))),
            CASE WHEN state.used + state.held > state.limit_amount
                AND state.limit_id = ANY(\(limits.sorted())::bigint[])
            THEN refuse_transaction('a limit is reached', state.limit_id) END
        """
    }

    private static func hold(_ rows: SQL) -> SQL {
        change(rows, held: "state.held + excluded.held", exceeding: "state.held")
    }

    /// - Parameters:
    ///   - held: what is held then.
    ///   - exceeding: what of that may have come to exceed a changed limit.
    private static func change(_ rows: SQL, held: SQL, exceeding: SQL) -> SQL {
        """
        \(rows)
        ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE
        SET used = \(shared("state.used + excluded.used")), held = \(shared("greatest(0, \(held))", else: held)),
            overshoot = least(\(greatest), greatest(
                0, state.overshoot + excluded.overshoot,
                CASE WHEN excluded.limit_revision > state.limit_revision
                    THEN state.used + excluded.used + \(exceeding) - excluded.limit_amount
                END
            )),
            limit_amount = CASE WHEN excluded.limit_revision > state.limit_revision
                THEN excluded.limit_amount ELSE state.limit_amount END,
            limit_revision = greatest(excluded.limit_revision, state.limit_revision),
            thresholds_fired = \(stillFired)
        RETURNING \(returned)
        """
    }

    /// What was charged for some of the usage falls below zero where usage of others is voided, which had used up their
    /// free tier, or a last value falls: it stops there, which leaves no allowance to what comes, and how far it would
    /// have fallen is noted. What is held still stays within a limit that denies, and the overshoot.
    /// - Parameter rows: locked ones, with what is used of them when each fall stopped at zero, less what a void gives
    ///   back of earlier falls.
    package static func floor(_ rows: [(row: LimitRow, used: FixedDecimal, denies: Bool)]) -> SQL {
        let columns = LimitRowColumns(rows.lazy.map(\.row))
        return """
            UPDATE limit_state AS state
            SET used = locked.used, floored = state.floored + locked.used - state.used,
                overshoot = CASE WHEN locked.used < state.used
                    THEN greatest(0, state.overshoot + locked.used - state.used)
                    WHEN locked.denies THEN greatest(state.overshoot, locked.used + state.held - state.limit_amount)
                    ELSE state.overshoot END
            FROM unnest(\(columns.key), \(rows.map(\.used))::numeric[], \(rows.map(\.denies))::boolean[])
                AS locked (tenant_id, limit_id, scope_value, window_start, used, denies)
            WHERE \(LimitRowColumns.isRow(of: "locked"))
            """
    }

    /// How far what is used of locked rows would have fallen below zero; those of which it would not are left out.
    package static func floored(of rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            SELECT state.tenant_id, state.limit_id, state.scope_value, state.window_start, state.floored
            FROM unnest(\(columns.key)) AS wanted (tenant_id, limit_id, scope_value, window_start)
            JOIN limit_state AS state ON \(LimitRowColumns.isRow(of: "wanted"))
            WHERE state.floored > 0
            """
    }

    @Sendable
    package static func decodeFloored(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> (row: LimitRow, amount: FixedDecimal) {
        (try LimitRow.decode(&row), try row.next())
    }

    /// The most that a row can say. What is more of one tenant's is refused. A row that all share goes no further than
    /// that, nor does what it holds fall below zero when what went beyond is freed: it is off then by what one
    /// tenant's enormous amounts went beyond, and keeps nobody else from being counted.
    static let greatest: SQL = "99999999999999999999999999.999999999999"

    /// What has fired of a row: under a newer definition what is still met by what is used. A forecast stays until
    /// `BudgetRevision` has judged it.
    static let stillFired: SQL = """
        CASE WHEN excluded.limit_revision > state.limit_revision THEN ARRAY(
            SELECT threshold
            FROM unnest(state.thresholds_fired) AS threshold
            WHERE state.used > 0 AND state.used * 100 >= excluded.limit_amount * threshold
            ORDER BY threshold
        ) ELSE state.thresholds_fired END
        """

    private static func shared(_ capped: SQL, else sum: SQL? = nil) -> SQL {
        """
        CASE WHEN state.tenant_id = \(TenantID.operatorWide) THEN least(\(greatest), \(capped))
            ELSE \(sum ?? capped) END
        """
    }

    /// Sets what the windows' rows have used, whatever it was.
    package static func replaceUse(_ changes: [LimitChange]) -> SQL {
        """
        \(rows(changes, held: changes.map { _ in .zero }))
        ON CONFLICT ON CONSTRAINT limit_state_pk DO UPDATE
        SET used = excluded.used,
            overshoot = least(\(greatest), greatest(
                0, state.overshoot + excluded.used - state.used,
                CASE WHEN excluded.limit_revision > state.limit_revision
                    THEN excluded.used + state.held - excluded.limit_amount
                END
            )),
            limit_amount = excluded.limit_amount, limit_revision = excluded.limit_revision,
            thresholds_fired = \(stillFired)
        RETURNING \(returned)
        """
    }

    /// - Parameter countsUse: whether anything is used; what is not takes no columns, which cost a statement more than
    ///   its rows do.
    private static func rows(_ changes: [LimitChange], held: [FixedDecimal], countsUse: Bool = true) -> SQL {
        let columns = LimitRowColumns(changes.lazy.map(\.row))
        let uses: SQL =
            countsUse
            ? """
            unnest(\(changes.map(\.used))::numeric[]) AS used,
                    unnest(\(changes.map(\.overshoot))::numeric[]) AS overshoot
            """
            : "0 AS used, 0 AS overshoot"
        // In step in the select list: a `FROM unnest(...)` would first copy each array into a table of its own.
        return """
            INSERT INTO limit_state AS state (
                tenant_id, limit_id, scope_value, window_start, window_end, used, overshoot, held, limit_amount,
                limit_revision
            )
            SELECT tenant_id, limit_id, scope_value, window_start, window_end, used, overshoot, held,
                limit_amount, limit_revision
            FROM (
                SELECT unnest(\(columns.tenants)::bigint[]) AS tenant_id,
                    unnest(\(columns.limits)::bigint[]) AS limit_id,
                    unnest(\(columns.scopeValues)::text[]) AS scope_value,
                    unnest(\(columns.windowStarts)::timestamptz[]) AS window_start,
                    unnest(\(changes.map(\.windowEnd))::timestamptz[]) AS window_end, \(uses),
                    unnest(\(held)::numeric[]) AS held, unnest(\(changes.map(\.amount))::numeric[]) AS limit_amount,
                    unnest(\(changes.map(\.revision))::bigint[]) AS limit_revision
            ) AS changed
            ORDER BY \(LimitRowColumns.lockOrder(of: "changed"))
            """
    }

    /// The columns that `decode` reads, of the row `state`.
    static var returned: SQL {
        """
        state.tenant_id, state.limit_id, state.scope_value, state.window_start, state.window_end, state.used,
            state.held, state.overshoot, state.limit_amount, state.limit_revision, state.thresholds_fired
        """
    }

    /// What a money row holds, worked out anew from what is used and held under it, in a row that the transaction has
    /// locked.
    package struct Computed: Sendable {
        package let row: LimitRow
        package let held: FixedDecimal
        /// Nil where that stays.
        package let used: FixedDecimal?
        /// By how much more it would have fallen below zero; less where a void gives that back.
        package let floored: FixedDecimal
        /// Added to what is used beyond what was held.
        package let overshoot: FixedDecimal

        package init(
            _ row: LimitRow,
            held: FixedDecimal,
            used: FixedDecimal? = nil,
            floored: FixedDecimal = .zero,
            overshoot: FixedDecimal = .zero
        ) {
            self.row = row
            self.held = held
            self.used = used
            self.floored = floored
            self.overshoot = overshoot
        }
    }

    /// Writes what money rows hold; each comes once.
    package static func set(_ computed: [Computed]) -> SQL {
        let columns = LimitRowColumns(computed.lazy.map(\.row))
        return """
            UPDATE limit_state AS state
            SET used = coalesce(computed.used, state.used), floored = state.floored + computed.floored,
                held = computed.held, overshoot = greatest(0, state.overshoot + computed.overshoot)
            FROM unnest(
                \(columns.key), \(computed.map(\.used))::numeric[], \(computed.map(\.floored))::numeric[],
                \(computed.map(\.held))::numeric[], \(computed.map(\.overshoot))::numeric[]
            ) AS computed (tenant_id, limit_id, scope_value, window_start, used, floored, held, overshoot)
            WHERE \(LimitRowColumns.isRow(of: "computed"))
            """
    }

    /// Removes those of the locked rows in which nothing was ever counted, as if they had not been made. One with
    /// quantities beside it stays, whatever they have come to.
    package static func removeUnused(_ rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            DELETE FROM limit_state AS state
            USING unnest(
                \(columns.key)
            ) AS unused (tenant_id, limit_id, scope_value, window_start)
            WHERE \(LimitRowColumns.isRow(of: "unused"))
                AND state.used = 0 AND state.floored = 0 AND state.held = 0 AND state.overshoot = 0
                AND state.thresholds_fired = '{}'
                AND (
                    state.scope_value <> '' OR NOT EXISTS (
                        SELECT FROM limit_state AS part
                        WHERE part.tenant_id = state.tenant_id AND part.limit_id = state.limit_id
                            AND part.window_start = state.window_start AND \(LimitRowColumns.isPart("part"))
                    )
                )
            """
    }

    /// Notes which thresholds of locked rows have fired by now; each row comes once.
    static func fire(_ marks: [(row: LimitRow, fired: [FixedDecimal])]) -> SQL {
        let columns = LimitRowColumns(marks.lazy.map(\.row))
        // There are no arrays of arrays of different lengths.
        let fired = marks.map { "{\($0.fired.map(\.description).joined(separator: ","))}" }
        return """
            UPDATE limit_state AS state
            SET thresholds_fired = mark.fired::numeric[]
            FROM unnest(
                \(columns.key), \(fired)::text[]
            ) AS mark (tenant_id, limit_id, scope_value, window_start, fired)
            WHERE \(LimitRowColumns.isRow(of: "mark"))
            """
    }

    /// The states of the given rows; a row that is not there has used nothing.
    package static func states(of rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            SELECT \(returned)
            FROM unnest(
                \(columns.key)
            ) AS wanted (tenant_id, limit_id, scope_value, window_start)
            JOIN limit_state AS state
                ON \(LimitRowColumns.isRow(of: "wanted"))
            ORDER BY state.tenant_id, state.limit_id, state.scope_value, state.window_start
            """
    }

    /// The rows beside those given that hold something: what is held of a limit on charges, by counter.
    package static func parts(of rows: [LimitRow]) -> SQL {
        let columns = LimitRowColumns(rows)
        return """
            SELECT \(returned)
            FROM unnest(
                \(columns.tenants)::bigint[], \(columns.limits)::bigint[], \(columns.windowStarts)::timestamptz[]
            ) AS wanted (tenant_id, limit_id, window_start)
            JOIN limit_state AS state
                ON state.tenant_id = wanted.tenant_id AND state.limit_id = wanted.limit_id
                AND state.window_start = wanted.window_start
            WHERE \(LimitRowColumns.isPart("state")) AND state.held > 0
            ORDER BY state.tenant_id, state.limit_id, state.scope_value, state.window_start
            """
    }

    /// The same of every window of limits from a time on.
    /// - Parameter earliest: the least start of a window, for each limit of a tenant.
    package static func parts(since earliest: [TenantLimit: Instant]) -> SQL {
        """
        SELECT \(returned)
        FROM unnest(
            \(earliest.keys.map(\.tenant))::bigint[], \(earliest.keys.map(\.limit))::bigint[],
            \(Array(earliest.values))::timestamptz[]
        ) AS wanted (tenant_id, limit_id, earliest)
        JOIN limit_state AS state
            ON state.tenant_id = wanted.tenant_id AND state.limit_id = wanted.limit_id
            AND state.window_start >= wanted.earliest
        WHERE \(LimitRowColumns.isPart("state")) AND state.held > 0
        ORDER BY state.tenant_id, state.limit_id, state.scope_value, state.window_start
        """
    }

    /// Every window of a tenant's quotas, for `verify`.
    package static func quotaStates(tenant: TenantID) -> SQL {
        """
        SELECT \(returned)
        FROM usage_limit AS quota
        JOIN limit_state AS state ON state.tenant_id = quota.tenant_id AND state.limit_id = quota.limit_id
        WHERE quota.tenant_id = \(tenant)
        ORDER BY state.limit_id, state.window_start
        """
    }

    @Sendable
    package static func decode(_ row: inout PostgresRow) throws(PostgresError) -> LimitState {
        LimitState(
            row: try LimitRow.decode(&row),
            windowEnd: try row.next(),
            balance: LimitBalance(
                used: try row.next(),
                held: try row.next(),
                overshoot: try row.next(),
                amount: try row.next()
            ),
            revision: try row.next(),
            firedThresholds: try row.next()
        )
    }
}
