import BillingCore
import Web
import Webhooks

/// What is done to a subscription, by its name in the audit log.
enum SubscriptionAction: String {
    case created, changed, cancelled, resumed
    case changesWithdrawn = "changes_withdrawn"

    var eventType: WebhookEventType {
        switch self {
        case .created: .subscriptionCreated
        case .changed, .changesWithdrawn: .subscriptionChanged
        case .cancelled: .subscriptionCanceled
        case .resumed: .subscriptionResumed
        }
    }
}

/// What webhooks are told of a subscription.
extension OutboxEvent {
    init(_ action: SubscriptionAction, _ change: SubscriptionChange, id: UUIDv7, at now: Instant) {
        let subscription = change.after
        let segment = subscription.segment(at: change.effectiveAt)
        self.init(
            id: id,
            tenant: subscription.tenantID,
            type: action.eventType,
            occurredAt: now,
            data: .members([
                "tenant": .string(subscription.tenantKey),
                "subscription": .string(subscription.id.description),
                "plan": .text(segment?.planKey),
                "version": segment.map { .number(String($0.version)) } ?? .null,
                "status": .string(subscription.status(at: now).rawValue),
                "effective_at": .string(change.effectiveAt.description),
                "starts_at": .string(subscription.startsAt.description),
                "ends_at": .text(subscription.endsAt?.description),
            ])
        )
    }
}
