package import BillingCore
package import Postgres

/// What replicas tell each other on the channel `turnpike_catalog`, delivered when the change commits.
package enum CatalogNotification: Sendable, Hashable {
    /// Meters, features or plans changed.
    case catalog
    /// Something of one tenant's snapshot changed.
    case tenant(TenantID)

    package static let channel = "turnpike_catalog"
    static let tenantPrefix = "tenant:"

    package init?(payload: String) {
        if payload == "catalog" {
            self = .catalog
        } else if payload.hasPrefix(Self.tenantPrefix), let id = Int64(payload.dropFirst(Self.tenantPrefix.count)) {
            self = .tenant(TenantID(rawValue: id))
        } else {
            return nil
        }
    }

    package var payload: String {
        switch self {
        case .catalog: "catalog"
        case .tenant(let id): "\(Self.tenantPrefix)\(id.rawValue)"
        }
    }

    /// Sends it with the transaction's next round trip; PostgreSQL delivers it only if the transaction commits.
    package func enqueue(in transaction: borrowing Transaction) {
        transaction.enqueue("SELECT pg_notify(\(Self.channel), \(payload))")
    }
}
