package import BillingCore
package import Logging
package import Postgres

/// What surrounds a request: who calls, under which id, which operation it is, and the present.
package struct RequestContext: Sendable {
    package let requestID: String
    package let operation: Operation
    package let principal: Principal
    /// How long it took to know who calls.
    package let authenticationTook: Duration
    /// Where the call comes from, see `ClientAddresses`.
    package let clientAddress: IPAddress
    private let places: TenantPlaces
    private let serviceLogger: Logger
    package let clock: Clock
    package let ids: IDSource

    package init(
        requestID: String,
        operation: Operation,
        principal: Principal,
        authenticationTook: Duration,
        clientAddress: IPAddress,
        places: TenantPlaces,
        logger: Logger,
        clock: Clock,
        ids: IDSource
    ) {
        self.requestID = requestID
        self.operation = operation
        self.principal = principal
        self.authenticationTook = authenticationTook
        self.clientAddress = clientAddress
        self.places = places
        serviceLogger = logger
        self.clock = clock
        self.ids = ids
    }

    /// Bears the request id.
    package var logger: Logger {
        var logger = serviceLogger
        logger[metadataKey: "request_id"] = .string(requestID)
        return logger
    }

    /// A place at the interactive lane for the tenant of a caller that an open operation authenticates by itself, to be
    /// kept until it is answered; nil for no tenant.
    /// - Throws: 503 where the tenant has its share.
    package func place(for tenant: TenantID?) throws(Problem) -> TenantPlaces.Place? {
        try places.place(for: tenant)
    }

    /// Under which role a request reads: a tenant's own for a bound caller, so that row-level security stands behind
    /// every filter of ours.
    package var databaseScope: PostgresScope {
        principal.tenantID.map { .tenant($0.rawValue) } ?? .service
    }

    /// The tenant key in the path, if the caller may know of it. A caller bound to another tenant gets the very
    /// answer that an absent tenant gives: rooms throw the same `Problem.notFound("tenant", key)`.
    package func tenantKey(in request: APIRequest, parameter: String = "key") throws(Problem) -> String {
        let key = try request.parameter(parameter)
        try requireAccess(toTenant: key)
        return key
    }

    package func requireAccess(toTenant key: String) throws(Problem) {
        guard principal.mayAccess(tenantKey: key) else { throw .notFound("tenant", key) }
    }

    /// The tenant a list is narrowed to: a bound caller sees its own whatever it asks for, and asking for another
    /// gives the 404 of an absent one.
    package func tenantFilter(_ asked: String?) throws(Problem) -> String? {
        guard let asked else { return principal.tenantKey }
        try requireAccess(toTenant: asked)
        return asked
    }
}
