package import Catalog
import BillingCore
import Identity
package import Postgres
package import Web

/// `/tenants/{key}/credit-grants`.
package struct CreditGrantRoutes: Sendable {
    /// Every invoice reads all credits that its tenant may use.
    private static let maximumUsable = 1_000

    let desk: InvoicingDesk

    package init(catalog: Catalog, pool: PostgresPool, writes: IdempotentWrites) {
        desk = InvoicingDesk(catalog: catalog, pool: pool, writes: writes)
    }

    package func register(in operations: Operations) {
        let path = "/tenants/{key}/credit-grants"
        operations.get(path, "listCreditGrants", scope: .invoicesRead) { try await list($0, $1) }
        operations.post(
            path,
            "createCreditGrant",
            scope: .invoicesWrite,
            handler: desk.operatorOnly { try await create($0, $1) }
        )
        operations.get("\(path)/{id}", "getCreditGrant", scope: .invoicesRead) { try await get($0, $1) }
        operations.get("\(path)/{id}/applications", "listCreditApplications", scope: .invoicesRead) {
            try await applications($0, $1)
        }
        operations.post(
            "\(path)/{id}/void",
            "voidCreditGrant",
            scope: .invoicesWrite,
            handler: desk.operatorOnly { try await void($0, $1) }
        )
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let now = context.clock.now()
        let filter = CreditGrantStore.Filter(
            kind: query.oneOf("kind", AvailableCredit.Kind.self),
            status: query.oneOf("status", CreditGrantStatus.self),
            now: now
        )
        try query.finish()
        let tenant = try await desk.tenant(request, context)
        let position = try page.position(CreditGrantID.self)
        let grants = try await desk.read(context) { transaction in
            try CreditGrantStore.list(
                tenant: tenant.id,
                filter,
                after: position,
                limit: page.fetchCount,
                in: transaction
            )
        }
        let listed = page.page(grants) { [$0.id.description] }
        return try .json(listed.map { try CreditGrantBody($0, tenant: tenant.key, now: now) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let tenant = try await desk.tenant(request, context)
        let id = try request.id(CreditGrantID.self, of: "credit_grant")
        let grant = try await desk.read(context) { try Self.existing(id, of: tenant.id, in: $0) }
        let body = try CreditGrantBody(grant, tenant: tenant.key, now: context.clock.now())
        return try .json(body, revision: grant.revision)
    }

    /// Which invoices used it.
    private func applications(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        try query.finish()
        let tenant = try await desk.tenant(request, context)
        let id = try request.id(CreditGrantID.self, of: "credit_grant")
        let position = try page.position(InvoiceID.self)
        let (grant, applications) = try await desk.read(context) { transaction in
            (
                try Self.existing(id, of: tenant.id, in: transaction),
                try CreditGrantStore.applications(
                    of: id,
                    tenant: tenant.id,
                    after: position,
                    limit: page.fetchCount,
                    in: transaction
                )
            )
        }
        let listed = page.page(applications) { [$0.invoice.description] }
        return try .json(listed.map { CreditApplicationBody($0, currency: grant.currency) })
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let tenant = try await desk.tenant(request, context)
        let now = context.clock.now()
        let input = try CreditGrantInput.read(try request.fields(), currency: tenant.currency, now: now)
        let id = CreditGrantID(rawValue: context.ids.next())
        let grant = CreditGrant(input, id: id, tenant: tenant.id, currency: tenant.currency, now: now)
        return try await desk.write(request, context) { transaction in
            _ = try TenantLedger.lock(tenant.id, in: transaction)
            guard
                try CreditGrantStore.usableCount(of: tenant.id, at: now, in: transaction) < Self.maximumUsable
            else { throw InvoiceFault.tooManyCredits(maximum: Self.maximumUsable) }
            transaction.enqueue(CreditGrantStore.insertion([grant]))
            let body = try CreditGrantBody(grant, tenant: tenant.key, now: now)
            try AuditLog.record(
                in: transaction,
                by: context,
                action: "credit_grant.created",
                resource: ("credit_grant", id.description),
                tenant: tenant.id,
                after: body
            )
            let location = "/tenants/\(tenant.key)/credit-grants/\(id)"
            return try .created(body, location: location, revision: grant.revision)
        }
    }

    /// Takes away what no invoice has used; what invoices used stays used.
    private func void(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let tenant = try await desk.tenant(request, context)
        let id = try request.id(CreditGrantID.self, of: "credit_grant")
        try request.fields(emptyIsObject: true).finish()
        let now = context.clock.now()
        return try await desk.write(request, context) { transaction in
            _ = try TenantLedger.lock(tenant.id, in: transaction)
            let grant = try Self.existing(id, of: tenant.id, in: transaction)
            try request.ifMatch.require(grant.revision)
            guard grant.voidedAt == nil else { throw InvoiceFault.grantVoided }
            guard !grant.remaining.isZero else { throw InvoiceFault.grantUsed }
            try CreditGrantStore.void(grant, at: now, in: transaction)
            let voided = try Self.existing(id, of: tenant.id, in: transaction)
            let body = try CreditGrantBody(voided, tenant: tenant.key, now: now)
            try AuditLog.record(
                in: transaction,
                by: context,
                action: "credit_grant.voided",
                resource: ("credit_grant", id.description),
                tenant: tenant.id,
                before: try CreditGrantBody(grant, tenant: tenant.key, now: now),
                after: body
            )
            return try .json(body, revision: voided.revision)
        }
    }

    private static func existing(
        _ id: CreditGrantID,
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws -> CreditGrant {
        guard let grant = try CreditGrantStore.find(id, tenant: tenant, in: transaction) else {
            throw InvoiceFault.grantNotFound(id.description)
        }
        return grant
    }
}
