package import BillingCore
package import Postgres

/// How a replica tells the others, and itself, that what it may have cached of credentials has changed. It is sent with
/// the change's own COMMIT; a notification that gets lost costs the age of the cache, two seconds.
package enum CredentialChanges {
    static let channel = "turnpike_credentials"

    enum Change: Equatable {
        case apiKey(String)
        case client(String)
        /// An access token, by its `jti`.
        case token(String)
        case signingKeys
        case portalSession(String)
        /// Everything that is bound to the tenant.
        case tenant(TenantID)
    }

    static func announce(apiKey id: String, in transaction: borrowing Transaction) {
        notify("key:\(id)", in: transaction)
    }

    static func announce(portalSession id: String, in transaction: borrowing Transaction) {
        notify("session:\(id)", in: transaction)
    }

    static func announce(client id: String, in transaction: borrowing Transaction) {
        notify("client:\(id)", in: transaction)
    }

    static func announce(token id: UUIDv7, in transaction: borrowing Transaction) {
        notify("token:\(id)", in: transaction)
    }

    static func announceSigningKeys(in transaction: borrowing Transaction) {
        notify("signing_keys:", in: transaction)
    }

    /// For the room that owns tenants: whether this one's credentials may be used has changed.
    package static func announce(tenant id: TenantID, in transaction: borrowing Transaction) {
        notify("tenant:\(id)", in: transaction)
    }

    /// Nil for what a later release announces and this one does not know.
    static func change(in payload: String) -> Change? {
        let parts = payload.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        return switch parts[0] {
        case "key": .apiKey(String(parts[1]))
        case "client": .client(String(parts[1]))
        case "token": .token(String(parts[1]))
        case "signing_keys": .signingKeys
        case "session": .portalSession(String(parts[1]))
        case "tenant": Int64(parts[1]).map { .tenant(TenantID(rawValue: $0)) }
        default: nil
        }
    }

    private static func notify(_ payload: String, in transaction: borrowing Transaction) {
        transaction.enqueue("SELECT pg_notify(\(channel), \(payload))")
    }
}
