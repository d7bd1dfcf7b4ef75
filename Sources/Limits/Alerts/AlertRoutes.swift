import BillingCore
package import Catalog
import Identity
package import Postgres
package import Web

/// `/alerts`: what somebody should know of, and who has seen it. A tenant's credential sees its own tenant's alerts,
/// and none that are for operators only.
package struct AlertRoutes: Sendable {
    let catalog: Catalog
    let pool: PostgresPool
    let writes: IdempotentWrites

    package init(catalog: Catalog, pool: PostgresPool, writes: IdempotentWrites) {
        self.catalog = catalog
        self.pool = pool
        self.writes = writes
    }

    package func register(in operations: Operations) {
        operations.get("/alerts", "listAlerts", scope: .budgetsRead, handler: list)
        operations.get("/alerts/{id}", "getAlert", scope: .budgetsRead, handler: get)
        operations.post("/alerts/{id}/acknowledge", "acknowledgeAlert", scope: .budgetsWrite, handler: acknowledge)
    }

    @Sendable
    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let asked = query.string("tenant")
        var filter = AlertStore.Filter()
        filter.kind = query.oneOf("kind", AlertKind.self)
        filter.isAcknowledged = query.bool("acknowledged")
        filter.from = query.instant("from")
        filter.to = query.instant("to")
        try query.finish()
        filter.tenant = try await catalog.tenantFilter(asked, for: context)?.id
        filter.isForOperators = context.principal.isOperatorWide
        let alerts = try await pool.query(
            .interactive,
            as: context.databaseScope,
            AlertStore.page(
                filter,
                seenBy: AlertSide(context.principal),
                after: try page.position(AlertID.self),
                limit: page.fetchCount
            ),
            AlertStore.decode
        )
        return try .json(page.page(alerts) { [$0.id.description] }.map(AlertBody.init))
    }

    @Sendable
    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        return try .json(AlertBody(try await alert(request, context)))
    }

    /// Acknowledging twice keeps the first acknowledgement. What an operator notes stands in the operator's audit log.
    @Sendable
    private func acknowledge(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let fields = try request.fields(emptyIsObject: true)
        let note = fields.optionalString("note", maximumLength: 500)
        try fields.finish()
        let found = try await alert(request, context)
        let acknowledgement = Alert.Acknowledgement(
            at: context.clock.now(),
            by: context.principal.credentialID,
            note: note
        )
        let side = AlertSide(context.principal)
        return try await writes.perform(request, context) { transaction in
            let isFirst = try AlertStore.acknowledge(
                found.id,
                of: found.owner,
                by: side,
                acknowledgement,
                in: transaction
            )
            let stored = try transaction.first(AlertStore.find(found.id, seenBy: side), AlertStore.decode)
            guard let stored else { throw Problem.notFound("alert", found.id.description) }
            let body = AlertBody(stored)
            if isFirst {
                try AuditLog.record(
                    in: transaction,
                    by: context,
                    action: "alert.acknowledged",
                    resource: ("alert", found.id.description),
                    tenant: side == .operator ? .operatorWide : found.owner,
                    before: AlertBody(found),
                    after: body
                )
            }
            return try .json(body)
        }
    }

    /// The alert in the path, if the caller may know of it.
    private func alert(_ request: APIRequest, _ context: RequestContext) async throws -> Alert {
        let id = try request.id(AlertID.self, of: "alert")
        let found = try await pool.query(
            .interactive,
            as: context.databaseScope,
            AlertStore.find(id, seenBy: AlertSide(context.principal)),
            AlertStore.decode
        ).first
        guard let found, context.principal.mayAccess(tenant: found.owner) else {
            throw Problem.notFound("alert", id.description)
        }
        return found
    }
}
