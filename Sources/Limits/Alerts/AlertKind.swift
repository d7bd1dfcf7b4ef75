import Catalog
import Postgres

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
    /// Usage at a time that no subscription covers.
    case unsubscribedUsage = "unsubscribed_usage"
    case webhookEndpointDisabled = "webhook_endpoint_disabled"
}

extension AlertKind: PostgresConvertible {}
