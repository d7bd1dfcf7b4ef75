package import BillingCore
import Identity
import Logging
package import Postgres
package import Web

/// How operations read and write what the read model holds: reads of a bound caller behind row-level security, writes
/// in one transaction with their idempotency key, refusals as problems, and afterwards a fresh read model on this
/// replica.
package struct CatalogDesk: Sendable {
    package let pool: PostgresPool
    let writes: IdempotentWrites
    package let catalog: Catalog

    package init(pool: PostgresPool, catalog: Catalog) {
        self.pool = pool
        self.catalog = catalog
        writes = IdempotentWrites(pool: pool)
    }

    package func read<Value: Sendable>(
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Value
    ) async throws -> Value {
        return try await refusing {
            try await pool.transaction(.interactive, as: context.databaseScope, retries: .idempotent(attempts: 3), body)
        }
    }

    /// Changes something of one tenant.
    package func write(
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        try await refusing { try await writes.perform(request, context, body) }
    }

    /// Does what a write would do, answers with what came of it, and takes everything back, an `Idempotency-Key` too.
    /// Locks are held until then, as by the write itself.
    func preview(
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        try await refusing {
            do {
                return try await writes.perform(request, context) { transaction in
                    throw Preview(answer: try body(transaction))
                }
            } catch let preview as Preview {
                return preview.answer
            }
        }
    }

    /// Ends the transaction of a preview, so that nothing of it is stored.
    private struct Preview: Error {
        let answer: Answer
    }

    /// Changes the shared catalogue. When it has, this replica reads it again; the others do so when they are told.
    package func writeCatalog(
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        let answer = try await write(request, context, body)
        do {
            try await catalog.reload()
        } catch {
            context.logger.warning("the catalogue was changed but not read again", metadata: ["error": "\(error)"])
        }
        return answer
    }

    /// A handler that takes an operator's credential only: what it changes or shows is no tenant's.
    package func operatorOnly(_ handler: @escaping Operations.Handler) -> Operations.Handler {
        { request, context in
            try requireOperator(context)
            return try await handler(request, context)
        }
    }

    func requireOperator(_ context: RequestContext) throws {
        guard context.principal.isOperatorWide else { throw CatalogFault.operatorOnly.problem }
    }

    private func refusing<Value>(_ work: () async throws -> Value) async throws -> Value {
        do {
            return try await work()
        } catch let fault as CatalogFault {
            throw fault.problem
        }
    }
}

extension CatalogDesk {
    /// An audit row: of the tenant, or of what belongs to none.
    package static func audit(
        _ action: String,
        _ resource: CatalogFault.Resource,
        _ key: String,
        by context: RequestContext,
        before: (any Encodable)? = nil,
        after: (any Encodable)? = nil,
        tenant: TenantID = .operatorWide,
        in transaction: borrowing Transaction
    ) throws {
        try AuditLog.record(
            in: transaction,
            by: context,
            action: "\(resource.rawValue).\(action)",
            resource: (resource.rawValue, key),
            tenant: tenant,
            before: before,
            after: after
        )
    }
}

extension PageRequest {
    /// The key to continue after, in lists that are sorted by one.
    var afterKey: String? { after?.first }
}
