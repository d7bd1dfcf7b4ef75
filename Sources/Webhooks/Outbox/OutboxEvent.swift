package import BillingCore
package import Web

/// Something that happened and may be told to webhook endpoints.
package struct OutboxEvent: Sendable {
    /// Stays the same however often it is delivered: the `webhook-id` of every attempt.
    package let id: UUIDv7
    /// Whose it is; `TenantID.operatorWide` for what belongs to no tenant.
    package let tenant: TenantID
    package let type: WebhookEventType
    package let occurredAt: Instant
    /// A JSON object; it is sent as it is.
    package let data: JSONValue
    /// It is never told to the tenant's own endpoints, because it says what providers bill the operator.
    package let isForOperatorOnly: Bool

    package init(
        id: UUIDv7,
        tenant: TenantID,
        type: WebhookEventType,
        occurredAt: Instant,
        data: JSONValue,
        isForOperatorOnly: Bool = false
    ) {
        self.id = id
        self.tenant = tenant
        self.type = type
        self.occurredAt = occurredAt
        self.data = data
        self.isForOperatorOnly = isForOperatorOnly
    }
}
