package import BillingCore
package import Postgres
package import Web

/// The record of every write that finance or security may ask about, made in the write's own transaction: who did
/// what, to what, from which state to which, in which request.
package enum AuditLog {
    /// Adds the row to the transaction; it is sent with the next round trip or with COMMIT.
    ///
    /// - Parameters:
    ///   - action: what happened, `tenant.created`.
    ///   - tenant: whose row it is; `TenantID.operatorWide` for what belongs to no tenant.
    ///   - before, after: the resource as it is answered. Nil before it existed, and after it is gone.
    package static func record(
        in transaction: borrowing Transaction,
        by context: RequestContext,
        action: String,
        resource: (type: String, key: String),
        tenant: TenantID,
        before: (any Encodable)? = nil,
        after: (any Encodable)? = nil
    ) throws {
        let author = AuditAuthor(
            credentialID: context.principal.credentialID,
            requestID: context.requestID,
            id: context.ids.next(),
            occurredAt: context.clock.now()
        )
        try record(
            in: transaction,
            by: author,
            action: action,
            resource: resource,
            tenant: tenant,
            before: before,
            after: after
        )
    }

    /// For work that no request asked for.
    package static func record(
        in transaction: borrowing Transaction,
        by author: AuditAuthor,
        action: String,
        resource: (type: String, key: String),
        tenant: TenantID,
        before: (any Encodable)? = nil,
        after: (any Encodable)? = nil
    ) throws {
        try AuditLogStore.insert(
            AuditEntry(
                id: author.id,
                tenantID: tenant,
                occurredAt: author.occurredAt,
                credentialID: author.credentialID,
                requestID: author.requestID,
                action: action,
                resourceType: resource.type,
                resourceKey: resource.key,
                before: try before.map { try JSONValue(encoding: $0) },
                after: try after.map { try JSONValue(encoding: $0) }
            ),
            in: transaction
        )
    }
}

/// Who writes an audit row, and when. A worker names itself, `worker:period-close`.
package struct AuditAuthor: Sendable {
    package let credentialID: String
    package let requestID: String
    package let id: UUIDv7
    package let occurredAt: Instant

    package init(credentialID: String, requestID: String, id: UUIDv7, occurredAt: Instant) {
        self.credentialID = credentialID
        self.requestID = requestID
        self.id = id
        self.occurredAt = occurredAt
    }
}

struct AuditEntry: Sendable {
    let id: UUIDv7
    let tenantID: TenantID
    let occurredAt: Instant
    let credentialID: String
    let requestID: String
    let action: String
    let resourceType: String
    let resourceKey: String
    let before: JSONValue?
    let after: JSONValue?
}
