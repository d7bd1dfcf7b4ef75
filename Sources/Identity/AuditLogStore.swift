import BillingCore
import Postgres
import Web

/// The table `audit_log`. Rows are added and read, never changed.
enum AuditLogStore {
    struct Filter: Sendable {
        var tenant: TenantID?
        var action: String?
        var resourceType: String?
        var resourceKey: String?
        var credentialID: String?
        var requestID: String?
        var from: Instant?
        var to: Instant?
    }

    /// Where a page ends: the newest entries come first.
    struct Position: Sendable {
        let occurredAt: Instant
        let id: UUIDv7
    }

    static func insert(_ entry: AuditEntry, in transaction: borrowing Transaction) throws {
        transaction.enqueue(
            """
            INSERT INTO audit_log (tenant_id, audit_id, occurred_at, credential_id, request_id, action,
                resource_type, resource_key, before, after)
            VALUES (\(entry.tenantID), \(entry.id), \(entry.occurredAt), \(entry.credentialID), \(entry.requestID),
                \(entry.action), \(entry.resourceType), \(entry.resourceKey),
                \(entry.before.map { PostgresJSON(text: $0.text) }),
                \(entry.after.map { PostgresJSON(text: $0.text) }))
            """
        )
    }

    /// - Parameter scope: the tenant's own for a bound caller, so that row-level security stands behind the filter.
    static func list(
        _ filter: Filter,
        after position: Position?,
        count: Int,
        scope: PostgresScope,
        lane: PostgresLane = .interactive,
        pool: PostgresPool
    ) async throws -> [AuditEntry] {
        var conditions: [SQL] = ["true"]
        if let tenant = filter.tenant { conditions.append("tenant_id = \(tenant)") }
        if let action = filter.action { conditions.append("action = \(action)") }
        if let type = filter.resourceType { conditions.append("resource_type = \(type)") }
        if let key = filter.resourceKey { conditions.append("resource_key = \(key)") }
        if let credential = filter.credentialID { conditions.append("credential_id = \(credential)") }
        if let request = filter.requestID { conditions.append("request_id = \(request)") }
        if let from = filter.from { conditions.append("occurred_at >= \(from)") }
        if let to = filter.to { conditions.append("occurred_at < \(to)") }
        if let position {
            conditions.append("(occurred_at, audit_id) < (\(position.occurredAt), \(position.id))")
        }
        return try await pool.query(
            lane,
            as: scope,
            """
            SELECT audit_id, tenant_id, occurred_at, credential_id, request_id, action, resource_type, resource_key,
                before, after
            FROM audit_log
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY occurred_at DESC, audit_id DESC
            LIMIT \(count)
            """
        ) { row throws(PostgresError) in
            AuditEntry(
                id: try row.next(),
                tenantID: try row.next(),
                occurredAt: try row.next(),
                credentialID: try row.next(),
                requestID: try row.next(),
                action: try row.next(),
                resourceType: try row.next(),
                resourceKey: try row.next(),
                before: try state(&row),
                after: try state(&row)
            )
        }
    }

    private static func state(_ row: inout PostgresRow) throws(PostgresError) -> JSONValue? {
        guard let json = try row.next(PostgresJSON?.self) else { return nil }
        guard let state = try? JSONValue(stored: json.text) else {
            throw PostgresError(.decoding, "an entry of the audit log is not as this release writes it")
        }
        return state
    }
}
