package import BillingCore
import Catalog
import Crypto
package import Web

/// An alert that is raised unless it was raised before.
package struct AlertDraft: Sendable {
    /// How many alerts of its kind and tenant are raised by themselves in a time, where somebody may make up any number
    /// of what they are of. The first one beyond them is raised as one that says that there are more.
    package struct Bound: Sendable {
        let count: Int
        /// Since when those count that were raised.
        let start: Instant

        package init(_ count: Int, since start: Instant) {
            self.count = count
            self.start = start
        }
    }

    package let kind: AlertKind
    /// Whom it is about; `operatorWide` for what concerns no single tenant.
    package let tenant: TenantID
    package let tenantKey: String?
    /// Names what happened: the same key of the same tenant is the same alert, however often it is raised.
    package private(set) var key: String
    /// What the alert says, as it is answered.
    package private(set) var detail: JSONValue
    /// Whether the tenant must not know of it. Everything about what providers charge is for operators only.
    package var isOperatorOnly = false
    package var limit: LimitID?
    /// Which of the limit's values, where it counts several.
    package var scopeValue: String?
    package var window: Interval?
    /// In percent of the limit.
    package var threshold: FixedDecimal?
    /// The identity of one with a bound has two parts, so that it is never that of the one that stands for more.
    package var bound: Bound?

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
        key = Self.key(kind, of: tenant, identity)
    }

    /// The alert that says that there are more than its bound.
    func standingForMore(than bound: Bound) -> AlertDraft {
        var more = self
        more.key = Self.key(kind, of: tenant, ["more", "than", "\(bound.count)", "since", "\(bound.start)"])
        if case .object(let members) = detail {
            more.detail = .object(members + [JSONMember(name: "more", value: .bool(true))])
        }
        return more
    }

    /// The tenant is part of it because what is for operators only stands beside other tenants' under tenant 0.
    private static func key(_ kind: AlertKind, of tenant: TenantID, _ identity: [String]) -> String {
        "\(kind.rawValue):" + hash(["\(tenant)"] + identity)
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
