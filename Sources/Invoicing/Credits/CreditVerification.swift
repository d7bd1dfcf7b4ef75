import BillingCore
import Catalog
import Postgres
import Usage

/// Compares what is left of every credit with what was granted and what invoices that stand use of it. Page by page,
/// each in one statement, so that it can run beside live traffic.
struct CreditVerification: Sendable {
    private static let page = 500

    let pool: PostgresPool

    /// - Parameters:
    ///   - only: the one tenant to judge; every one when left out.
    ///   - difference: called for each one found.
    func run(tenant only: TenantID?, difference: (UsageDifference) -> Void) async throws {
        var after: (tenant: TenantID, id: CreditGrantID)?
        while true {
            let position = after
            let balances = try await pool.transaction(.worker) { transaction in
                try CreditGrantStore.balances(of: only, after: position, limit: Self.page, in: transaction)
            }
            for balance in balances where balance.remaining != balance.expected {
                difference(
                    UsageDifference(
                        tenant: balance.tenantKey,
                        subject: "what is left of the credit \(balance.name) (\(balance.id))",
                        stored: balance.remaining.description,
                        rebuilt: balance.expected.description,
                        source: "uses"
                    )
                )
            }
            guard balances.count == Self.page, let last = balances.last else { return }
            after = (last.tenant, last.id)
        }
    }
}

extension CreditGrantStore {
    /// What is left of a credit, and what should be.
    struct Balance: Sendable {
        let tenant: TenantID
        let id: CreditGrantID
        let tenantKey: String
        let name: String
        let remaining: FixedDecimal
        let expected: FixedDecimal
    }

    /// By tenant and id.
    fileprivate static func balances(
        of only: TenantID?,
        after position: (tenant: TenantID, id: CreditGrantID)?,
        limit: Int,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [Balance] {
        let (tenant, id) = (position?.tenant ?? .operatorWide, position?.id ?? CreditGrantID(rawValue: .zero))
        let rows = try transaction.query(
            """
            SELECT tenant_id, credit_grant_id, name, remaining, amount - coalesce((
                SELECT sum(used.amount)
                FROM credit_application AS used
                WHERE used.tenant_id = credit.tenant_id AND used.credit_grant_id = credit.credit_grant_id
                    AND used.returned_at IS NULL
            ), 0)
            FROM credit_grant AS credit
            WHERE (tenant_id, credit_grant_id) > (\(tenant), \(id))
                AND (\(only)::bigint IS NULL OR tenant_id = \(only)::bigint)
            ORDER BY tenant_id, credit_grant_id
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in
            (
                try row.next(TenantID.self), try row.next(CreditGrantID.self), try row.next(String.self),
                try row.next(FixedDecimal.self), try row.next(FixedDecimal.self)
            )
        }
        let tenants = try transaction.query(
            TenantBillingStore.tenants(Set(rows.map(\.0)).sorted()),
            TenantBillingStore.tenant
        )
        let keys = Dictionary(tenants.map { ($0.id, $0.key) }) { first, _ in first }
        return rows.map { tenant, id, name, remaining, expected in
            Balance(
                tenant: tenant,
                id: id,
                tenantKey: keys[tenant] ?? tenant.description,
                name: name,
                remaining: remaining,
                expected: expected
            )
        }
    }

    /// What is written of an invoice's use of credits, by credit: below zero where it gave back.
    static func applied(
        by invoice: InvoiceID,
        tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [UUIDv7: (amount: FixedDecimal, isReturned: Bool)] {
        let rows = try transaction.query(
            """
            SELECT credit_grant_id, amount, returned_at IS NOT NULL
            FROM credit_application
            WHERE tenant_id = \(tenant) AND invoice_id = \(invoice)
            """
        ) { row throws(PostgresError) in
            (try row.next(CreditGrantID.self), try row.next(FixedDecimal.self), try row.next(Bool.self))
        }
        return Dictionary(rows.map { ($0.rawValue, ($1, $2)) }) { first, _ in first }
    }
}
