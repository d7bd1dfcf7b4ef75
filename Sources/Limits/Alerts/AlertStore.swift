package import BillingCore
import Catalog
package import Postgres
package import Web
import Webhooks

/// All SQL over `alert`.
package enum AlertStore {
    /// What a list is narrowed to.
    struct Filter: Sendable {
        var tenant: TenantID?
        /// Whether what is about the tenant and for operators only is listed too.
        var isForOperators = false
        var kind: AlertKind?
        var isAcknowledged: Bool?
        /// By `raised_at`, from inclusive, to exclusive.
        var from: Instant?
        var to: Instant?
    }

    /// How many of a tenant are raised by the transaction in which they happen.
    static let atOnce = 100

    /// Raises those of the alerts that were not raised before, in the transaction in which happened what they tell, and
    /// puts what was raised into the outbox of webhooks. Of several transactions that raise the same alert, the first
    /// to commit does. Rows are locked in key order, so a transaction raises all its alerts at once, after its limits.
    ///
    /// Where there are more than `atOnce` of a tenant, the transaction only keeps them, for `AlertBacklogWorker` to
    /// raise: whoever shares the transaction, or waits for its locks, would wait for all of them.
    package static func raise(
        _ drafts: [AlertDraft],
        at now: Instant,
        ids: IDSource,
        in transaction: borrowing Transaction
    ) throws {
        guard !drafts.isEmpty else { return }
        let drafts = try bounded(drafts, in: transaction)
        let counts = drafts.reduce(into: [TenantID: Int]()) { $0[$1.tenant, default: 0] += 1 }
        var (few, many): ([NewAlert], [NewAlert]) = ([], [])
        for draft in drafts {
            let alert = NewAlert(draft, id: AlertID(rawValue: ids.next()), at: now)
            if counts[draft.tenant, default: 0] > atOnce { many.append(alert) } else { few.append(alert) }
        }
        if !many.isEmpty { transaction.enqueue(AlertBacklog.insertion(of: many)) }
        try insert(few, in: transaction)
    }

    /// Inserts those that were not raised before, and puts them into the outbox.
    static func insert(_ alerts: [NewAlert], in transaction: borrowing Transaction) throws {
        guard !alerts.isEmpty else { return }
        let inserted = Set(
            try transaction.query(
                """
                INSERT INTO alert (\(NewAlert.columns))
                \(NewAlert.rows(alerts))
                ORDER BY tenant_id, alert_key
                ON CONFLICT ON CONSTRAINT alert_once DO NOTHING
                RETURNING alert_id
                """
            ) { row throws(PostgresError) in try row.next(AlertID.self) }
        )
        let raised = alerts.filter { inserted.contains($0.alert.id) }
        guard !raised.isEmpty else { return }
        Outbox.enqueue(try raised.map { try OutboxEvent($0) }, in: transaction)
        transaction.afterCommit { AlertMetrics.count(raised.map(\.alert.kind)) }
    }

    /// Newest first.
    static func page(_ filter: Filter, seenBy side: AlertSide, after id: AlertID?, limit: Int) -> SQL {
        var conditions: [SQL] = ["removed_at IS NULL"]
        if let kind = filter.kind { conditions.append("kind = \(kind)") }
        if let isAcknowledged = filter.isAcknowledged {
            let time = side.acknowledgedAt
            conditions.append(isAcknowledged ? "\(time) IS NOT NULL" : "\(time) IS NULL")
        }
        if let from = filter.from { conditions.append("raised_at >= \(from)") }
        if let to = filter.to { conditions.append("raised_at < \(to)") }
        if let id { conditions.append("alert_id < \(id)") }
        guard let tenant = filter.tenant else {
            return newest(conditions, by: "alert_id DESC", seenBy: side, limit: limit)
        }
        let own = newest(conditions, "tenant_id", tenant, seenBy: side, limit: limit)
        guard filter.isForOperators else { return own }
        // What is about the tenant and not its own belongs to tenant 0. Each of the two has an index in its order.
        let about = newest(conditions, "about_tenant_id", tenant, seenBy: side, limit: limit)
        return """
            (\(own))
            UNION ALL
            (\(about))
            ORDER BY alert_id DESC
            LIMIT \(limit)
            """
    }

    /// `= ANY` does not tell the planner that the tenant is one, so that no index has this order but those by tenant.
    /// Otherwise it may follow one of all tenants, past the newer alerts of all the others.
    private static func newest(
        _ conditions: [SQL],
        _ column: SQL,
        _ tenant: TenantID,
        seenBy side: AlertSide,
        limit: Int
    ) -> SQL {
        let own: SQL = "\(column) = ANY (ARRAY[\(tenant)::bigint])"
        return newest([own] + conditions, by: "\(column) DESC, alert_id DESC", seenBy: side, limit: limit)
    }

    private static func newest(_ conditions: [SQL], by order: SQL, seenBy side: AlertSide, limit: Int) -> SQL {
        """
        \(selection(side))
        WHERE \(SQL.joined(conditions, separator: " AND "))
        ORDER BY \(order)
        LIMIT \(limit)
        """
    }

    /// The alert of an id, whoever's it is.
    static func find(_ id: AlertID, seenBy side: AlertSide) -> SQL {
        "\(selection(side)) WHERE alert_id = \(id) AND removed_at IS NULL"
    }

    /// Writes who on a side has seen an alert, unless somebody had before.
    static func acknowledge(
        _ id: AlertID,
        of owner: TenantID,
        by side: AlertSide,
        _ acknowledgement: Alert.Acknowledgement,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Bool {
        let changed = try transaction.execute(
            """
            UPDATE alert
            SET \(side.acknowledgedAt) = \(acknowledgement.at), \(side.acknowledgedBy) = \(acknowledgement.by),
                \(side.note) = \(acknowledgement.note)
            WHERE tenant_id = \(owner) AND alert_id = \(id) AND \(side.acknowledgedAt) IS NULL
            """
        )
        return changed > 0
    }

    private static func selection(_ side: AlertSide) -> SQL {
        """
        SELECT alert_id, tenant_id, kind, tenant_key, raised_at, scope_value, window_start, window_end, threshold,
            detail, \(side.acknowledgedAt), \(side.acknowledgedBy), \(side.note)
        FROM alert
        """
    }

    @Sendable
    static func decode(_ row: inout PostgresRow) throws(PostgresError) -> Alert {
        var alert = Alert(
            id: try row.next(),
            owner: try row.next(),
            kind: try row.next(),
            tenantKey: try row.next(),
            raisedAt: try row.next(),
            scopeValue: try row.next(),
            window: try window(&row),
            threshold: try row.next(),
            detail: try detail(&row)
        )
        let (at, by, note) = (try row.next(Instant?.self), try row.next(String?.self), try row.next(String?.self))
        if let at, let by { alert.acknowledgement = Alert.Acknowledgement(at: at, by: by, note: note) }
        return alert
    }

    static func window(_ row: inout PostgresRow) throws(PostgresError) -> Interval? {
        let (start, end) = (try row.next(Instant?.self), try row.next(Instant?.self))
        guard let start, let end else { return nil }
        return Interval(start: start, end: end)
    }

    static func detail(_ row: inout PostgresRow) throws(PostgresError) -> JSONValue {
        guard let detail = try? JSONValue(stored: try row.next(PostgresJSON.self).text) else {
            throw PostgresError(.decoding, "an alert is not as this release writes it")
        }
        return detail
    }
}

extension AlertSide {
    fileprivate var acknowledgedAt: SQL { self == .operator ? "acknowledged_at" : "tenant_acknowledged_at" }
    fileprivate var acknowledgedBy: SQL { self == .operator ? "acknowledged_by" : "tenant_acknowledged_by" }
    fileprivate var note: SQL { self == .operator ? "note" : "tenant_note" }
}
