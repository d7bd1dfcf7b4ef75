import Catalog
import Postgres
import Webhooks

/// What an alert is about, by its name in the API.
package enum AlertKind: String, Sendable, CaseIterable {
    case thresholdCrossed = "threshold_crossed"
    case forecast
    case limitReached = "limit_reached"
    case reservationExpired = "reservation_expired"
    /// Usage that nobody can say the price of: that of a provider, or that of the tenant's plan.
    case unpricedUsage = "unpriced_usage"
    /// Usage whose subject names no tenant.
    case unmatchedUsage = "unmatched_usage"
    /// Usage of a type that no meter reads.
    case unmeteredUsage = "unmetered_usage"
    /// Usage at a time that no subscription covers.
    case unsubscribedUsage = "unsubscribed_usage"
    case webhookEndpointDisabled = "webhook_endpoint_disabled"

    /// As what it is told to webhook endpoints.
    var eventType: WebhookEventType {
        switch self {
        case .thresholdCrossed: .budgetThresholdCrossed
        case .forecast: .budgetForecastExceeded
        case .limitReached: .limitReached
        case .reservationExpired: .reservationExpired
        case .unpricedUsage: .usageUnpriced
        case .unmatchedUsage: .usageUnmatched
        case .unmeteredUsage: .usageUnmetered
        case .unsubscribedUsage: .usageUnsubscribed
        case .webhookEndpointDisabled: .webhookEndpointDisabled
        }
    }
}

extension AlertKind: PostgresConvertible {}
