import BillingCore
import Catalog
import Web
import Webhooks

/// A mitigation as it is answered, and told to webhook endpoints.
struct MitigationBody: Encodable, Sendable {
    let id: MitigationID
    let scope: JSONValue
    let reason: String
    let status: String
    let createdAt: Instant
    let expiresAt: Instant
    /// Nil while it is in force.
    let endedAt: Instant?
    let liftReason: String?

    init(_ mitigation: Mitigation, at now: Instant) {
        let status = mitigation.status(at: now)
        id = mitigation.id
        scope = mitigation.scope.json
        reason = mitigation.reason
        self.status = status.rawValue
        createdAt = mitigation.createdAt
        expiresAt = mitigation.expiresAt
        endedAt = status == .active ? nil : mitigation.endedAt ?? mitigation.expiresAt
        liftReason = mitigation.liftReason
    }
}

extension OutboxEvent {
    /// Tells the operator's endpoints: whose calls are refused, and why, is not for the tenants that its scope names.
    init(_ type: WebhookEventType, _ mitigation: Mitigation, id: UUIDv7, at now: Instant) throws {
        self.init(
            id: id,
            tenant: .operatorWide,
            type: type,
            occurredAt: now,
            data: try JSONValue(encoding: MitigationBody(mitigation, at: now)),
            isForOperatorOnly: true
        )
    }
}
