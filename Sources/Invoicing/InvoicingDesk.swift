import BillingCore
import Catalog
import Identity
import Postgres
import Web

/// How this room's operations write: by an operator, under the tenant's ledger lock, in one transaction with their
/// idempotency key and their audit row; refusals become problems.
struct InvoicingDesk: Sendable {
    let pool: PostgresPool
    let writes: IdempotentWrites
    let catalog: Catalog

    /// Changes something of the tenant in the path.
    func write(
        tenant key: String,
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (TenantSnapshot, borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        let tenant = try await catalog.tenant(key, for: context)
        try requireOperator(context)
        return try await perform(request, context) { transaction in
            _ = try TenantLedger.lock(tenant.id, in: transaction)
            return try body(tenant, transaction)
        }
    }

    /// Changes the invoice in the path, as it is read under the ledger lock.
    func write(
        invoice text: String,
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (InvoiceStore.Head, borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        guard let id = InvoiceID(text) else { throw InvoiceFault.notFound(text).problem }
        let found = try await pool.transaction(.interactive, as: context.databaseScope) {
            try InvoiceStore.find(id, in: $0)
        }
        guard let found, context.principal.mayAccess(tenant: found.invoice.tenantID) else {
            throw InvoiceFault.notFound(text).problem
        }
        try requireOperator(context)
        return try await perform(request, context) { transaction in
            _ = try TenantLedger.lock(found.invoice.tenantID, in: transaction)
            guard let head = try InvoiceStore.find(id, in: transaction) else { throw InvoiceFault.notFound(text) }
            try request.ifMatch.require(head.invoice.revision)
            return try body(head, transaction)
        }
    }

    private func perform(
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        try await refusing { try await writes.perform(request, context, body) }
    }

    private func requireOperator(_ context: RequestContext) throws {
        guard context.principal.isOperatorWide else {
            throw Problem.forbidden(
                code: "operator_only",
                detail: "This credential is bound to a tenant; invoices and credits are changed with an operator's."
            )
        }
    }
}
