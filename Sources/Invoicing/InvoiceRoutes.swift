import BillingCore
package import Catalog
import HTTPTypes
package import Postgres
package import Web

/// Reading invoices: `/invoices`, `/tenants/{key}/invoices` and `/tenants/{key}/upcoming-invoice`.
package struct InvoiceRoutes: Sendable {
    let catalog: Catalog
    let pool: PostgresPool

    package init(catalog: Catalog, pool: PostgresPool) {
        self.catalog = catalog
        self.pool = pool
    }

    package func register(in operations: Operations) {
        operations.get("/invoices", "listInvoices", scope: .invoicesRead) { try await list($0, $1, tenant: nil) }
        operations.get("/invoices/{id}", "getInvoice", scope: .invoicesRead, handler: get)
        operations.get("/tenants/{key}/invoices", "listTenantInvoices", scope: .invoicesRead) { request, context in
            try await list(request, context, tenant: try context.tenantKey(in: request))
        }
        operations.get(
            "/tenants/{key}/upcoming-invoice",
            "getUpcomingInvoice",
            scope: .invoicesRead,
            handler: upcoming
        )
    }

    /// - Parameter tenant: the key in the path, where there is one; else the query may name one.
    private func list(_ request: APIRequest, _ context: RequestContext, tenant: String?) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        var filter = InvoiceStore.Filter()
        let asked = tenant ?? query.string("tenant")
        filter.status = query.oneOf("status", InvoiceStatus.self)
        filter.kind = query.oneOf("kind", Invoice.Kind.self)
        filter.from = query.instant("from")
        filter.to = query.instant("to")
        let now = context.clock.now()
        if query.bool("overdue") == true { filter.overdueAt = now }
        try query.finish()
        filter.tenant = try await catalog.tenantFilter(asked, for: context)?.id
        let position = try Self.position(page)
        let narrowed = filter
        let heads = try await pool.transaction(.interactive, as: context.databaseScope) { transaction in
            try InvoiceStore.list(narrowed, after: position, limit: page.fetchCount, in: transaction)
        }
        let listed = page.page(heads) { [String($0.invoice.issuedAt.microseconds), $0.invoice.id.description] }
        let tenants = try await catalog.tenants(ids: listed.data.map(\.invoice.tenantID))
        return try .json(
            listed.map { head in
                InvoiceBody(listed: head, tenantKey: tenants[head.invoice.tenantID]?.key ?? "", now: now)
            }
        )
    }

    @Sendable
    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let whole = try await InvoiceReading.whole(in: request, context, catalog: catalog, pool: pool)
        return try .json(InvoiceBody(whole, now: context.clock.now()), revision: whole.invoice.revision)
    }

    @Sendable
    private func upcoming(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let tenant = try await catalog.tenant(request.parameter("key"), for: context)
        let now = context.clock.now()
        let snapshot = catalog.current
        let body = try await refusing {
            try await pool.transaction(.interactive, as: .tenant(tenant.id.rawValue)) { transaction in
                try UpcomingInvoice.body(of: tenant.id, at: now, catalog: snapshot, in: transaction)
            }
        }
        guard let body else { throw InvoiceFault.noSubscription(tenant.key).problem }
        return try .json(body)
    }

    private static func position(_ page: PageRequest) throws -> InvoiceStore.Position? {
        guard let after = page.after else { return nil }
        guard after.count == 2, let microseconds = Int64(after[0]), let id = InvoiceID(after[1]) else {
            throw PageRequest.invalidCursor
        }
        return InvoiceStore.Position(issuedAt: Instant(microseconds: microseconds), id: id)
    }
}

/// Runs work of this room; what it refuses becomes a problem.
func refusing<Value>(_ work: () async throws -> Value) async throws -> Value {
    do {
        return try await work()
    } catch let fault as InvoiceFault {
        throw fault.problem
    }
}
