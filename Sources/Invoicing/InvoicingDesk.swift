import BillingCore
import Catalog
import Postgres
import Web

/// How this room's operations read and write: reads of a bound caller behind row-level security, writes by an operator
/// in one transaction with their idempotency key, refusals as problems.
struct InvoicingDesk: Sendable {
    let catalog: Catalog
    let pool: PostgresPool
    let writes: IdempotentWrites

    func read<Value: Sendable>(
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Value
    ) async throws -> Value {
        let scope = context.databaseScope
        return try await refusing {
            try await pool.transaction(.interactive, as: scope, retries: .idempotent(attempts: 3), body)
        }
    }

    func write(
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        try await refusing { try await writes.perform(request, context, body) }
    }

    /// Changes the invoice in the path, as it is read under the ledger lock.
    func write(
        invoice id: InvoiceID,
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (InvoiceStore.Head, borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        let found = try await read(context) { try InvoiceStore.find(id, in: $0) }
        guard let found, context.principal.mayAccess(tenant: found.invoice.tenantID) else {
            throw InvoiceFault.notFound(id.description).problem
        }
        try requireOperator(context)
        return try await write(request, context) { transaction in
            _ = try TenantLedger.lock(found.invoice.tenantID, in: transaction)
            guard let head = try InvoiceStore.find(id, in: transaction) else {
                throw InvoiceFault.notFound(id.description)
            }
            try request.ifMatch.require(head.invoice.revision)
            return try body(head, transaction)
        }
    }

    /// The tenant in the path, if the caller may know of it. Its currency never changes, so the read model's is right.
    func tenant(_ request: APIRequest, _ context: RequestContext) async throws -> TenantSnapshot {
        try await catalog.tenant(request.parameter("key"), for: context)
    }

    /// A handler that takes an operator's credential: nobody gives credit to itself.
    func operatorOnly(_ handler: @escaping Operations.Handler) -> Operations.Handler {
        { request, context in
            try requireOperator(context)
            return try await handler(request, context)
        }
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
