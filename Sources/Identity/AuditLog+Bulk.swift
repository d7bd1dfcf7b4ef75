package import BillingCore
package import Postgres
package import Web

/// What a worker did to one of many resources.
package struct BulkAuditEntry: Sendable {
    package let tenant: TenantID
    package let resourceKey: String
    package let after: JSONValue

    package init(tenant: TenantID, resourceKey: String, after: JSONValue) {
        self.tenant = tenant
        self.resourceKey = resourceKey
        self.after = after
    }
}

extension AuditLog {
    /// One row for each entry, in one statement that is sent with the next round trip or with COMMIT.
    ///
    /// - Parameters:
    ///   - worker: who did it, such as `period_close`.
    ///   - ids: gives each row its id.
    package static func record(
        _ entries: [BulkAuditEntry],
        in transaction: borrowing Transaction,
        worker: String,
        action: String,
        resourceType: String,
        at now: Instant,
        ids: IDSource
    ) {
        guard !entries.isEmpty else { return }
        let author = "worker:\(worker)"
        transaction.enqueue(
            """
            INSERT INTO audit_log (tenant_id, audit_id, occurred_at, credential_id, request_id, action, resource_type,
                resource_key, before, after)
            SELECT tenant_id, audit_id, \(now), \(author), '', \(action), \(resourceType), resource_key, NULL, after
            FROM unnest(
                \(entries.map(\.tenant))::bigint[], \(entries.map { _ in ids.next() })::uuid[],
                \(entries.map(\.resourceKey))::text[], \(entries.map { PostgresJSON(text: $0.after.text) })::jsonb[]
            ) AS entry (tenant_id, audit_id, resource_key, after)
            """
        )
    }
}
