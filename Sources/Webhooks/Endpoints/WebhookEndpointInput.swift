import BillingCore
import Identity
import Web

/// The validated body of `POST /api/v1/webhook-endpoints`.
struct NewWebhookEndpoint: Sendable {
    let key: String
    let tenantKey: String?
    let kind: WebhookEndpoint.Kind
    let url: String
    let description: String
    let events: WebhookEventSelection
    let isEnabled: Bool
    /// Nil for kinds that are not signed.
    let signing: WebhookSigning?

    /// - Parameter addresses: where the URL may lead, by the owner that the body may name.
    init(_ request: APIRequest, addresses: (_ tenantKey: String?) -> OutboundGuard) throws {
        let fields = try request.fields()
        key = fields.key("key")
        tenantKey = fields.optionalKey("tenant")
        kind = fields.choice("kind", default: .webhook)
        url = fields.string("url", maximumLength: 2_000)
        if !url.isEmpty { kind.check(url, by: addresses(tenantKey), fields) }
        description = fields.optionalString("description", minimumLength: 0, maximumLength: 500) ?? ""
        events = WebhookEventSelection(fields)
        isEnabled = fields.bool("enabled", default: true)
        if kind == .webhook {
            signing = fields.choice("signing", default: .hmac)
        } else {
            signing = nil
            if fields.contains("signing") {
                _ = fields.optionalString("signing")
                let detail = "only endpoints of the kind \"webhook\" are signed"
                fields.fault(at: "signing", code: "not_allowed", detail: detail)
            }
        }
        try fields.finish()
    }
}

/// The validated body of `PATCH /api/v1/webhook-endpoints/{key}` (RFC 7396): absent members stay.
struct WebhookEndpointPatch: Sendable {
    private let body: JSONValue
    private let description: String?
    private let events: WebhookEventSelection?
    private let isEnabled: Bool?

    init(_ request: APIRequest) throws {
        body = try request.json()
        let fields = JSONObjectReader(body)
        fields.rejectImmutable(["key", "tenant", "kind", "signing"], of: "a webhook endpoint")
        fields.rejectNull(["url", "events", "enabled"])
        _ = fields.optionalString("url", maximumLength: 2_000)
        let given = fields.optionalString("description", minimumLength: 0, maximumLength: 500)
        description = body["description"] == .null ? "" : given
        events = fields.contains("events") ? WebhookEventSelection(fields) : nil
        isEnabled = fields.contains("enabled") ? fields.bool("enabled", default: true) : nil
        try fields.finish()
    }

    /// The endpoint as the body wants it. Another URL, or enabling it again, gives it a new start. The URL as shown
    /// changes nothing.
    /// - Parameter addresses: where its URL may lead.
    func applied(to endpoint: WebhookEndpoint, addresses: OutboundGuard) throws -> WebhookEndpoint {
        var changed = endpoint
        let fields = JSONObjectReader(body)
        if case .string(let url)? = body["url"], url != endpoint.shownURL {
            endpoint.kind.check(url, by: addresses, fields)
            guard fields.faults.isEmpty else { throw ValidationFailure(fields.faults) }
            changed.url = url
        }
        changed.description = description ?? endpoint.description
        changed.events = events ?? endpoint.events
        changed.isEnabled = isEnabled ?? endpoint.isEnabled
        if changed.url != endpoint.url { changed.failingSince = nil }
        if changed.isEnabled {
            if !endpoint.isEnabled { changed.failingSince = nil }
            changed.disabledReason = nil
            changed.disabledAt = nil
        }
        return changed
    }
}

extension WebhookEndpoint.Kind {
    /// Records a fault where this kind can't use the URL, or it can never be reached.
    fileprivate func check(_ url: String, by addresses: OutboundGuard, _ fields: JSONObjectReader) {
        switch self {
        case .webhook, .slack:
            if url.lowercased().hasPrefix("mailto:") {
                let detail = "\"url\" is an address of mail, for which \"kind\" must be \"email\""
                fields.fault(at: "url", code: "invalid_url", detail: detail)
                return
            }
            if let fault = OutboundURL.fault(in: url, named: "url", by: addresses) {
                fields.fault(at: "url", code: "invalid_url", detail: fault)
            }
        case .email:
            if MailAddress(mailto: url) == nil {
                let detail = "\"url\" of the kind \"email\" must be \(MailAddress.expectation)"
                fields.fault(at: "url", code: "invalid_url", detail: detail)
            }
        }
    }
}

extension WebhookEventSelection {
    /// Reads `events`: types of the catalogue, or `"*"` alone for all of them, those of later releases too.
    fileprivate init(_ fields: JSONObjectReader) {
        let names = fields.strings("events", minimumCount: 1, maximumCount: WebhookEventType.allCases.count)
        guard names != [Self.wildcard] else {
            self = .all
            return
        }
        if let index = names.firstIndex(of: Self.wildcard) {
            let detail = "\"\(Self.wildcard)\" is all event types, and stands alone"
            fields.fault(at: "events/\(index)", code: "not_alone", detail: detail)
        }
        self = .only(
            names.enumerated().filter { $0.element != Self.wildcard }.compactMap { index, name in
                let type = WebhookEventType(rawValue: name)
                if type == nil {
                    let types = WebhookEventType.allCases.map(\.rawValue)
                    let hint =
                        Nearest.name(to: name, among: types).map { "do you mean \"\($0)\"?" }
                        ?? "the types are \(types.map { "\"\($0)\"" }.joined(separator: ", "))"
                    let detail = "there is no event type \"\(name)\"; \(hint)"
                    fields.fault(at: "events/\(index)", code: "unknown_event_type", detail: detail)
                }
                return type
            }
        )
    }
}
