package import BillingCore
package import Postgres

/// What an invoice says about the tenant it goes to.
package struct BilledTenant: Sendable {
    package let id: TenantID
    package let key: String
    package let name: String
    package let currency: Currency
    package let billingEmail: String?
    package let billing: TenantBilling

    package init(
        id: TenantID,
        key: String,
        name: String,
        currency: Currency,
        billingEmail: String?,
        billing: TenantBilling
    ) {
        self.id = id
        self.key = key
        self.name = name
        self.currency = currency
        self.billingEmail = billingEmail
        self.billing = billing
    }
}

/// Reads `tenant` for invoices.
package enum TenantBillingStore {
    /// The statement, for a pipeline; its rows decode with `tenant`.
    package static func tenants(_ ids: [TenantID]) -> SQL {
        """
        SELECT tenant_id, key, name, currency, billing_email, billing
        FROM tenant
        WHERE tenant_id = ANY(\(ids)::bigint[])
        ORDER BY tenant_id
        """
    }

    package static func tenant(_ row: inout PostgresRow) throws(PostgresError) -> BilledTenant {
        BilledTenant(
            id: try row.next(),
            key: try row.next(),
            name: try row.next(),
            currency: try row.next(),
            billingEmail: try row.next(),
            billing: try row.next()
        )
    }
}
