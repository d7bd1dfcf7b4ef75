package import BillingCore
import Web

/// A customer, as it is stored. `key` and `currency` never change: events and money refer to them.
package struct Tenant: Sendable {
    package let id: TenantID
    package let key: String
    package var name: String
    package let currency: Currency
    package var zone: Zone
    /// Other names events may use for the tenant, sorted; the key is not among them.
    package var subjects: [String]
    package var costCenter: String?
    package var billingEmail: String?
    /// A JSON object, as compact text.
    package var metadata: String
    package var billing: TenantBilling
    package var status: TenantStatus
    package let createdAt: Instant
    package var updatedAt: Instant
    package var revision: Int64
}

/// What the API shows of a tenant.
package struct TenantBody: Encodable, Sendable {
    let key: String
    let name: String
    let currency: String
    let timezone: String
    let subjects: [String]
    let costCenter: String?
    let billingEmail: String?
    let metadata: JSONValue
    let billing: JSONValue
    let status: String
    let createdAt: Instant
    let updatedAt: Instant

    init(_ tenant: Tenant) throws {
        key = tenant.key
        name = tenant.name
        currency = tenant.currency.code
        timezone = tenant.zone.identifier
        subjects = tenant.subjects
        costCenter = tenant.costCenter
        billingEmail = tenant.billingEmail
        metadata = try JSONValue(stored: tenant.metadata)
        billing = tenant.billing.json
        status = tenant.status.rawValue
        createdAt = tenant.createdAt
        updatedAt = tenant.updatedAt
    }
}
