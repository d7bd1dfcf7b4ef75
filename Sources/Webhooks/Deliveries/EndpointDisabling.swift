package import BillingCore
import Identity
import Postgres
import Web

/// An endpoint that the service has stopped using, because it is gone or nothing reaches it.
package struct DisabledEndpoint: Sendable {
    /// Whose it is; `TenantID.operatorWide` for the operator's own.
    package let tenant: TenantID
    package let key: String
    /// `gone` or `failing`.
    package let reason: String
    /// `webhook_endpoint.disabled`, for the other endpoints.
    package let event: OutboxEvent
}

/// Stops using endpoints.
struct EndpointDisabling: Sendable {
    static let worker = "webhook_deliveries"
    /// How long everything must have failed.
    static let failingSeconds: Int64 = 5 * 86_400

    /// Tells of an endpoint that was disabled, in the transaction that does it.
    let announce: @Sendable (DisabledEndpoint, borrowing Transaction) throws -> Void
    let ids: IDSource

    /// Decides after an attempt that was the last of its delivery, or was told that the receiver is gone. The endpoint
    /// is locked and as it was before the attempt.
    func judge(
        _ endpoint: WebhookEndpoint,
        isGone: Bool,
        tenantKey: String?,
        at now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        guard endpoint.isEnabled else { return }
        let id = endpoint.id
        let limit = now.adding(seconds: -Self.failingSeconds)
        let isFailing = endpoint.failingSince.map { $0 <= limit } ?? false
        guard isGone || isFailing else { return }
        var disabled = endpoint
        let reason: WebhookEndpoint.DisabledReason = isGone ? .gone : .failing
        disabled.isEnabled = false
        disabled.disabledReason = reason
        disabled.disabledAt = now
        disabled.updatedAt = now
        disabled.revision += 1
        WebhookEndpointStore.update(disabled, in: transaction)
        DeliveryQueue.cancelWaiting(for: id, at: now, in: transaction)
        let after = WebhookEndpointBody(disabled, tenantKey: tenantKey)
        try AuditLog.record(
            in: transaction,
            by: AuditAuthor(credentialID: "worker:\(Self.worker)", requestID: "", id: ids.next(), occurredAt: now),
            action: "webhook_endpoint.disabled",
            resource: (WebhookEndpointRoutes.resource, id.key),
            tenant: id.tenant,
            before: WebhookEndpointBody(endpoint, tenantKey: tenantKey),
            after: after
        )
        let event = OutboxEvent(
            id: ids.next(),
            tenant: id.tenant,
            type: .webhookEndpointDisabled,
            occurredAt: now,
            data: .members([
                "tenant": tenantKey.map(JSONValue.string) ?? .null,
                "endpoint": .string(id.key),
                "reason": .string(reason.rawValue),
                "failing_since": endpoint.failingSince.map { .string($0.description) } ?? .null,
                "disabled_at": .string(now.description),
            ])
        )
        try announce(
            DisabledEndpoint(tenant: id.tenant, key: id.key, reason: reason.rawValue, event: event),
            transaction
        )
    }
}
