import BillingCore
import Catalog
import Postgres
import Web
import Webhooks

/// An alert that is to be raised unless it was before, with what is not read back of it.
struct NewAlert: Sendable {
    let alert: Alert
    /// Unique among those of its owner.
    let key: String
    /// Whom one that is for operators only is about.
    let about: TenantID?
    let limit: LimitID?

    init(_ draft: AlertDraft, id: AlertID, at now: Instant) {
        alert = Alert(draft, id: id, at: now)
        key = draft.key
        about = draft.isOperatorOnly ? draft.tenant : nil
        limit = draft.limit
    }
}

extension NewAlert {
    /// The columns of `rows`, of `alert` and of `alert_waiting`.
    static let columns: SQL = """
        tenant_id, alert_id, alert_key, kind, about_tenant_id, tenant_key, raised_at, limit_id, scope_value,
            window_start, window_end, threshold, detail
        """

    static func rows(_ new: [NewAlert]) -> SQL {
        let alerts = new.map(\.alert)
        return """
            SELECT \(columns)
            FROM unnest(
                \(alerts.map(\.owner))::bigint[], \(alerts.map(\.id))::uuid[], \(new.map(\.key))::text[],
                \(alerts.map(\.kind))::text[], \(new.map(\.about))::bigint[],
                \(alerts.map(\.tenantKey))::text[], \(alerts.map(\.raisedAt))::timestamptz[],
                \(new.map(\.limit))::bigint[], \(alerts.map(\.scopeValue))::text[],
                \(alerts.map(\.window?.start))::timestamptz[], \(alerts.map(\.window?.end))::timestamptz[],
                \(alerts.map(\.threshold))::numeric[], \(alerts.map { PostgresJSON(text: $0.detail.text) })::jsonb[]
            ) AS new (\(columns))
            """
    }

    /// Decodes `columns`.
    @Sendable
    static func decode(_ row: inout PostgresRow) throws(PostgresError) -> NewAlert {
        try NewAlert(&row)
    }

    private init(_ row: inout PostgresRow) throws(PostgresError) {
        let (owner, id) = (try row.next(TenantID.self), try row.next(AlertID.self))
        key = try row.next()
        let kind = try row.next(AlertKind.self)
        about = try row.next()
        let (tenantKey, raisedAt) = (try row.next(String?.self), try row.next(Instant.self))
        limit = try row.next()
        alert = Alert(
            id: id,
            owner: owner,
            kind: kind,
            tenantKey: tenantKey,
            raisedAt: raisedAt,
            scopeValue: try row.next(),
            window: try AlertStore.window(&row),
            threshold: try row.next(),
            detail: try AlertStore.detail(&row)
        )
    }
}

extension OutboxEvent {
    init(_ new: NewAlert) throws {
        self.init(
            id: new.alert.id.rawValue,
            tenant: new.about ?? new.alert.owner,
            type: new.alert.kind.eventType,
            occurredAt: new.alert.raisedAt,
            data: try JSONValue(encoding: AlertBody(new.alert)),
            isForOperatorOnly: new.about != nil
        )
    }
}
