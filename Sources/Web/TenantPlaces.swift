import BillingCore
import HTTPTypes
import Synchronization

/// The places that requests of tenants take at the interactive lane of the connection pool, where some are served and
/// others wait. One tenant has a quarter of them, so that who asks for very much leaves room for the others; operators
/// have as many as there are.
package final class TenantPlaces: Sendable {
    private let share: Int
    private let taken = Mutex(UnderWay<TenantID>())

    /// - Parameter places: how many requests the lane serves and lets wait.
    package init(of places: Int) {
        share = max(1, places / 4)
    }

    /// A place for a request; nil where it needs none.
    /// - Throws: 503 where the tenant has its share, as where the lane is full.
    func place(for principal: Principal, of operation: Operation) throws(Problem) -> Place? {
        guard operation.isInteractive else { return nil }
        return try place(for: principal.tenantID)
    }

    /// The same for a tenant that is known only while its request is answered; nil for none.
    func place(for tenant: TenantID?) throws(Problem) -> Place? {
        guard let tenant else { return nil }
        guard taken.withLock({ $0.begin(tenant, atMost: share) }) else { throw .tooManyUnderWay(share) }
        return Place(tenant, in: self)
    }

    /// A place is free again when nobody keeps it any more.
    package final class Place: Sendable {
        private let tenant: TenantID
        private let places: TenantPlaces

        fileprivate init(_ tenant: TenantID, in places: TenantPlaces) {
            self.tenant = tenant
            self.places = places
        }

        deinit {
            places.taken.withLock { $0.end(tenant) }
        }
    }
}

extension Operation {
    /// Whether it takes a connection of the interactive lane: brief operations have lanes of their own, or share a
    /// statement there.
    var isInteractive: Bool { !isBrief && access != .open }
}

extension Problem {
    fileprivate static func tooManyUnderWay(_ share: Int) -> Problem {
        Problem(
            .serviceUnavailable,
            code: "database_unavailable",
            detail: "\(share) requests of this tenant are under way, as many as one may have. Nothing was changed.",
            headers: [.retryAfter: "1"]
        )
    }
}
