package import Catalog
import BillingCore
import Identity
package import Postgres
package import Web

/// `/tenants/{key}/discounts`.
package struct DiscountRoutes: Sendable {
    /// Every one is taken off every line of every invoice of the tenant.
    private static let maximumActive = 100

    let desk: InvoicingDesk

    package init(catalog: Catalog, pool: PostgresPool, writes: IdempotentWrites) {
        desk = InvoicingDesk(catalog: catalog, pool: pool, writes: writes)
    }

    package func register(in operations: Operations) {
        let path = "/tenants/{key}/discounts"
        operations.get(path, "listDiscounts", scope: .invoicesRead) { try await list($0, $1) }
        operations.post(
            path,
            "createDiscount",
            scope: .invoicesWrite,
            handler: desk.operatorOnly { try await create($0, $1) }
        )
        operations.get("\(path)/{id}", "getDiscount", scope: .invoicesRead) { try await get($0, $1) }
        operations.post(
            "\(path)/{id}/end",
            "endDiscount",
            scope: .invoicesWrite,
            handler: desk.operatorOnly { try await end($0, $1) }
        )
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let status = query.oneOf("status", DiscountStatus.self)
        try query.finish()
        let tenant = try await desk.tenant(request, context)
        let position = try page.position(DiscountID.self)
        let discounts = try await desk.read(context) { transaction in
            try DiscountStore.list(
                tenant: tenant.id,
                status: status,
                after: position,
                limit: page.fetchCount,
                in: transaction
            )
        }
        let listed = page.page(discounts) { [$0.id.description] }
        return try .json(listed.map { DiscountBody($0, tenant: tenant.key, currency: tenant.currency) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let tenant = try await desk.tenant(request, context)
        let id = try request.id(DiscountID.self, of: "discount")
        let discount = try await desk.read(context) { try Self.existing(id, of: tenant.id, in: $0) }
        let body = DiscountBody(discount, tenant: tenant.key, currency: tenant.currency)
        return try .json(body, revision: discount.revision)
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let tenant = try await desk.tenant(request, context)
        let input = try DiscountInput.read(try request.fields(), currency: tenant.currency)
        let id = DiscountID(rawValue: context.ids.next())
        let discount = DiscountRecord(input, id: id, tenant: tenant.id, now: context.clock.now())
        return try await desk.write(request, context) { transaction in
            _ = try TenantLedger.lock(tenant.id, in: transaction)
            guard try DiscountStore.activeCount(of: tenant.id, in: transaction) < Self.maximumActive else {
                throw InvoiceFault.tooManyDiscounts(maximum: Self.maximumActive)
            }
            try DiscountStore.insert(discount, in: transaction)
            let body = DiscountBody(discount, tenant: tenant.key, currency: tenant.currency)
            try AuditLog.record(
                in: transaction,
                by: context,
                action: "discount.created",
                resource: ("discount", id.description),
                tenant: tenant.id,
                after: body
            )
            let location = "/tenants/\(tenant.key)/discounts/\(id)"
            return try .created(body, location: location, revision: discount.revision)
        }
    }

    /// No invoice that is finalised from now on has it.
    private func end(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let tenant = try await desk.tenant(request, context)
        let id = try request.id(DiscountID.self, of: "discount")
        try request.fields(emptyIsObject: true).finish()
        let now = context.clock.now()
        return try await desk.write(request, context) { transaction in
            _ = try TenantLedger.lock(tenant.id, in: transaction)
            let discount = try Self.existing(id, of: tenant.id, in: transaction)
            try request.ifMatch.require(discount.revision)
            guard discount.endedAt == nil else { throw InvoiceFault.discountEnded }
            try DiscountStore.end(discount, at: now, in: transaction)
            let ended = try Self.existing(id, of: tenant.id, in: transaction)
            let body = DiscountBody(ended, tenant: tenant.key, currency: tenant.currency)
            try AuditLog.record(
                in: transaction,
                by: context,
                action: "discount.ended",
                resource: ("discount", id.description),
                tenant: tenant.id,
                before: DiscountBody(discount, tenant: tenant.key, currency: tenant.currency),
                after: body
            )
            return try .json(body, revision: ended.revision)
        }
    }

    private static func existing(
        _ id: DiscountID,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws -> DiscountRecord {
        guard let discount = try DiscountStore.find(id, tenant: tenant, in: transaction) else {
            throw InvoiceFault.discountNotFound(id.description)
        }
        return discount
    }
}
