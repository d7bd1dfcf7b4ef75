import BillingCore
import Postgres

/// Names an endpoint: keys are unique within an owner.
struct WebhookEndpointID: Hashable, Sendable, CustomStringConvertible {
    /// `TenantID.operatorWide` for the operator's own.
    let tenant: TenantID
    let key: String

    var description: String { "\(tenant)/\(key)" }
}

/// Where events are told, and how.
struct WebhookEndpoint: Sendable, Equatable {
    enum Kind: String, CaseIterable, Sendable, PostgresConvertible {
        /// A signed request after Standard Webhooks.
        case webhook
        /// An incoming webhook of Slack, or of what speaks like it.
        case slack
        /// A mail.
        case email
    }

    enum DisabledReason: String, Sendable, PostgresConvertible {
        /// It answered 410.
        case gone
        /// Nothing has reached it for days.
        case failing
    }

    let id: WebhookEndpointID
    let kind: Kind
    /// Of one whose URL is sealed what is shown of it, until it is given another one.
    var url: String
    var description: String
    var events: WebhookEventSelection
    var isEnabled: Bool
    /// Nil for kinds that are not signed.
    let signing: WebhookSigning?
    var publicKey: String?
    var previousPublicKey: String?
    /// Until when the secret before the present one signs too.
    var previousSecretExpiresAt: Instant?
    /// Since when every attempt has failed; nil while the last one succeeded.
    var failingSince: Instant?
    /// Why the service stopped using it; nil when it did not.
    var disabledReason: DisabledReason?
    var disabledAt: Instant?
    let createdAt: Instant
    var updatedAt: Instant
    var revision: Int64

    /// Whether it has a URL that is to be sealed before it is stored.
    var hasSecretURL: Bool { kind == .slack && url != shownURL }

    /// The URL as it is shown: whoever has that of an incoming webhook of Slack can post there.
    var shownURL: String { kind == .slack ? Self.origin(of: url) : url }

    /// Scheme, host and port.
    static func origin(of url: String) -> String {
        guard let start = url.firstRange(of: "://")?.upperBound else { return url }
        return String(url[..<start] + url[start...].prefix { !"/?#".contains($0) })
    }
}

/// Which events an endpoint is told.
enum WebhookEventSelection: Sendable, Hashable {
    static let wildcard = "*"

    case all
    case only([WebhookEventType])

    /// As the API has it, and the database.
    var names: [String] {
        switch self {
        case .all: [Self.wildcard]
        case .only(let types): types.map(\.rawValue)
        }
    }

    /// What a later release may have stored besides is left out, and stays stored until other events are chosen.
    init(stored names: [String]) {
        self = names.contains(Self.wildcard) ? .all : .only(names.compactMap(WebhookEventType.init))
    }
}
