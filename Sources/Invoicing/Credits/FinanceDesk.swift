import BillingCore
import Catalog
import Postgres
import Web

/// How the operations on credits, discounts and credit notes read and write: reads of a bound caller behind row-level
/// security, writes by an operator in one transaction with their idempotency key, refusals as problems.
struct FinanceDesk: Sendable {
    let catalog: Catalog
    let pool: PostgresPool
    let writes: IdempotentWrites

    func read<Value: Sendable>(
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Value
    ) async throws -> Value {
        return try await refusing {
            try await pool.transaction(.interactive, as: context.databaseScope, retries: .idempotent(attempts: 3), body)
        }
    }

    func write(
        _ request: APIRequest,
        _ context: RequestContext,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        try await refusing { try await writes.perform(request, context, body) }
    }

    /// The tenant in the path, if the caller may know of it. Its currency never changes, so the read model's is right.
    func tenant(_ request: APIRequest, _ context: RequestContext) async throws -> TenantSnapshot {
        try await catalog.tenant(request.parameter("key"), for: context)
    }

    /// A handler that takes an operator's credential: nobody gives credit to itself.
    func operatorOnly(_ handler: @escaping Operations.Handler) -> Operations.Handler {
        { request, context in
            guard context.principal.isOperatorWide else {
                throw Problem.forbidden(
                    code: "operator_only",
                    detail: "This credential is bound to a tenant; credits and discounts are given by an operator."
                )
            }
            return try await handler(request, context)
        }
    }

    private func refusing<Value>(_ work: () async throws -> Value) async throws -> Value {
        do {
            return try await work()
        } catch let fault as InvoiceFault {
            throw fault.problem
        }
    }
}

extension JSONObjectReader {
    /// A required amount above zero, in whole minor units of the currency. A faulty one is recorded, as is one that is
    /// missing.
    func amount(_ name: String, in currency: Currency) -> FixedDecimal {
        let known = faults.count
        let amount = decimal(name)
        guard faults.count == known else { return amount }
        let path = JSONPointer.escaped(name)
        if amount <= .zero {
            fault(at: path, code: "out_of_range", detail: "\"\(name)\" must be above zero")
        } else if !currency.hasMinorUnits(amount) {
            let digits = currency.minorUnits
            let detail = "\"\(name)\" must have at most \(digits) digits after the decimal point, as \(currency) has"
            fault(at: path, code: "out_of_range", detail: detail)
        }
        return amount
    }

    /// An optional `currency`, which can only be the one given.
    func requireCurrency(_ currency: Currency) {
        guard let code = optionalString("currency"), code != currency.code else { return }
        fault(at: "currency", code: "currency_mismatch", detail: "The tenant is billed in \(currency).")
    }
}

extension Currency {
    /// Whether an amount is a whole number of the currency's minor units.
    func hasMinorUnits(_ amount: FixedDecimal) -> Bool {
        (try? ExactAmount(amount).rounded(toDigits: minorUnits)) == amount
    }
}
