import BillingCore
import Catalog
import Web

/// An alert as it is kept.
struct Alert: Sendable {
    let id: AlertID
    /// Under whom it is kept: tenant 0 where it is for operators only.
    let owner: TenantID
    let kind: AlertKind
    let tenantKey: String?
    let raisedAt: Instant
    let scopeValue: String?
    let window: Interval?
    let threshold: FixedDecimal?
    let detail: JSONValue
    var acknowledgement: Acknowledgement?

    struct Acknowledgement: Sendable {
        let at: Instant
        /// The credential.
        let by: String
        let note: String?
    }
}

/// Who reads alerts: each acknowledges for itself, and sees what it has noted itself.
enum AlertSide: Sendable {
    case `operator`, tenant

    init(_ principal: Principal) {
        self = principal.isOperatorWide ? .operator : .tenant
    }
}

extension Alert {
    /// A draft that is raised now.
    init(_ draft: AlertDraft, id: AlertID, at now: Instant) {
        self.init(
            id: id,
            owner: draft.isOperatorOnly ? .operatorWide : draft.tenant,
            kind: draft.kind,
            tenantKey: draft.tenantKey,
            raisedAt: now,
            scopeValue: draft.scopeValue,
            window: draft.window,
            threshold: draft.threshold,
            detail: draft.detail
        )
    }
}

/// An alert as it is answered, and told to webhook endpoints.
struct AlertBody: Encodable, Sendable {
    struct Window: Encodable, Sendable {
        let start: Instant
        let end: Instant
    }

    let id: AlertID
    let kind: String
    let tenant: String?
    let raisedAt: Instant
    let scopeValue: String?
    /// Nil too where a limit counts without end.
    let window: Window?
    let threshold: FixedDecimal?
    let detail: JSONValue
    let acknowledgedAt: Instant?
    let acknowledgedBy: String?
    let note: String?

    init(_ alert: Alert) {
        id = alert.id
        kind = alert.kind.rawValue
        tenant = alert.tenantKey
        raisedAt = alert.raisedAt
        scopeValue = alert.scopeValue
        window = alert.window.flatMap { $0 == .allTime ? nil : Window(start: $0.start, end: $0.end) }
        threshold = alert.threshold
        detail = alert.detail
        acknowledgedAt = alert.acknowledgement?.at
        acknowledgedBy = alert.acknowledgement?.by
        note = alert.acknowledgement?.note
    }
}
