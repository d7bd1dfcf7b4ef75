import BillingCore
import HTTPTypes
import Web

/// How an endpoint is answered and audited. The secret stands beside it only in the answer that makes or rotates it.
struct WebhookEndpointBody: Encodable, Sendable {
    let key: String
    let tenant: String?
    let kind: String
    private(set) var url: String
    let description: String
    let events: [String]
    let enabled: Bool
    let signing: String?
    let publicKey: String?
    let previousPublicKey: String?
    let previousSecretExpiresAt: Instant?
    let failingSince: Instant?
    let disabledReason: String?
    let disabledAt: Instant?
    let createdAt: Instant
    let updatedAt: Instant

    init(_ endpoint: WebhookEndpoint, tenantKey: String?) {
        key = endpoint.id.key
        tenant = tenantKey
        kind = endpoint.kind.rawValue
        url = endpoint.shownURL
        description = endpoint.description
        events = endpoint.events.names
        enabled = endpoint.isEnabled
        signing = endpoint.signing?.rawValue
        publicKey = endpoint.publicKey
        previousPublicKey = endpoint.previousPublicKey
        previousSecretExpiresAt = endpoint.previousSecretExpiresAt
        failingSince = endpoint.failingSince
        disabledReason = endpoint.disabledReason?.rawValue
        disabledAt = endpoint.disabledAt
        createdAt = endpoint.createdAt
        updatedAt = endpoint.updatedAt
    }

    /// As it is audited: without the query of its URL, in which others put their tokens.
    var audited: WebhookEndpointBody {
        var audited = self
        if let query = url.firstIndex(of: "?") { audited.url = url[...query] + "***" }
        return audited
    }

    /// As it is audited behind a change. Of a URL that was changed it says so, because the part that was may not show.
    func audited(changing before: WebhookEndpoint, to after: WebhookEndpoint) throws -> JSONValue {
        let audited = try JSONValue(encoding: audited)
        guard before.url != after.url, case .object(var members) = audited else { return audited }
        members.append(JSONMember(name: "url_changed", value: .bool(true)))
        return .object(members.sorted { $0.name < $1.name })
    }

    /// The answer that shows the secret, once. A key whose public half is all that receivers need shows none.
    func answer(showing key: WebhookSigningKey?, status: HTTPResponse.Status, revision: Int64) throws -> Answer {
        guard let secret = key?.secretText, case .object(var members) = try JSONValue(encoding: self) else {
            return try .json(self, status: status, revision: revision)
        }
        members.append(JSONMember(name: "secret", value: .string(secret)))
        var answer = try Answer.json(
            JSONValue.object(members.sorted { $0.name < $1.name }),
            status: status,
            revision: revision
        )
        answer.bearsSecret = true
        return answer
    }
}
