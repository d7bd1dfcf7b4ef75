package import BillingCore
import Catalog
import Crypto
package import Web

/// An alert that is raised unless it was raised before.
package struct AlertDraft: Sendable {
    package let kind: AlertKind
    /// Whom it is about; `operatorWide` for what concerns no single tenant.
    package let tenant: TenantID
    package let tenantKey: String?
    /// Names what happened: the same key of the same tenant is the same alert, however often it is raised.
    package let key: String
    /// What the alert says, as it is answered.
    package let detail: JSONValue
    /// Whether the tenant must not know of it. Everything about what providers charge is for operators only.
    package var isOperatorOnly = false
    package var limit: LimitID?
    /// Which of the limit's values, where it counts several.
    package var scopeValue: String?
    package var window: Interval?
    /// In percent of the limit.
    package var threshold: FixedDecimal?

    /// - Parameter identity: what tells the alert from others of its kind and tenant. Texts of any length will do.
    package init(
        _ kind: AlertKind,
        of tenant: TenantID,
        key tenantKey: String?,
        identity: [String],
        detail: JSONValue
    ) {
        self.kind = kind
        self.tenant = tenant
        self.tenantKey = tenantKey
        self.detail = detail
        // The tenant is part of it because what is for operators only stands beside other tenants' under tenant 0.
        key = "\(kind.rawValue):" + Self.hash(["\(tenant)"] + identity)
    }

    /// 128 bits of SHA-256 over the parts, each behind its length.
    private static func hash(_ parts: [String]) -> String {
        var hasher = SHA256()
        for part in parts { hasher.update(data: Array("\(part.utf8.count):\(part)".utf8)) }
        return hasher.finalize().prefix(16).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}
