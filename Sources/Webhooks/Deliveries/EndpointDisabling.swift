package import BillingCore
import Identity
import Postgres
package import Web

/// An endpoint that the service has stopped using, because it is gone or nothing reaches it.
package struct DisabledEndpoint: Sendable {
    /// Whose it is; `TenantID.operatorWide` for the operator's own.
    package let tenant: TenantID
    /// Nil for the operator's own.
    package let tenantKey: String?
    package let key: String
    package let disabledAt: Instant
    /// Which endpoint, and why: `gone` or `failing`.
    package let detail: JSONValue
}

/// Stops using endpoints.
struct EndpointDisabling: Sendable {
    /// How long everything must have failed.
    static let failingSeconds: Int64 = 5 * 86_400

    /// Tells of an endpoint that was disabled, in the transaction that does it.
    let announce: @Sendable (DisabledEndpoint, borrowing Transaction) throws -> Void
    let ids: IDSource

    /// Decides after an attempt that was the last of its delivery, or was told that the receiver is gone. The endpoint
    /// is locked, still is what the attempt was made at, and stands here as it was before it failed.
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
        WebhookEndpointStore.update(disabled, from: endpoint, in: transaction)
        DeliveryQueue.cancelWaiting(for: id, at: now, in: transaction)
        try AuditLog.record(
            in: transaction,
            by: AuditAuthor(
                credentialID: "worker:\(DeliveryWorker.name)",
                requestID: "",
                id: ids.next(),
                occurredAt: now
            ),
            action: "webhook_endpoint.disabled",
            resource: (WebhookEndpointRoutes.resource, id.key),
            tenant: id.tenant,
            before: WebhookEndpointBody(endpoint, tenantKey: tenantKey).audited,
            after: WebhookEndpointBody(disabled, tenantKey: tenantKey).audited
        )
        let notice = DisabledEndpoint(
            tenant: id.tenant,
            tenantKey: tenantKey,
            key: id.key,
            disabledAt: now,
            detail: .members([
                "endpoint": .string(id.key),
                "reason": .string(reason.rawValue),
                "failing_since": endpoint.failingSince.map { .string($0.description) } ?? .null,
            ])
        )
        try announce(notice, transaction)
    }
}
