import BillingCore
import Web

/// The validated body of `POST /api/v1/api-keys`.
struct NewAPIKey: Sendable {
    let name: String
    let scopes: ScopeSet
    let narrowing: CredentialNarrowing
    let tenantKey: String?
    let expiresAt: Instant?

    init(_ request: APIRequest, now: Instant) throws {
        let fields = try request.fields()
        name = fields.string("name", maximumLength: 200)
        scopes = fields.scopes()
        narrowing = CredentialNarrowing.read(fields)
        tenantKey = fields.optionalKey("tenant")
        expiresAt = fields.futureInstant("expires_at", now: now)
        try fields.finish()
    }
}

/// The validated body of `PATCH /api/v1/api-keys/{id}` (RFC 7396): absent members stay, null clears.
struct APIKeyPatch: Sendable {
    private let body: JSONValue
    private let now: Instant

    /// Judges the whole body, so that its faults are answered whatever state the key is in.
    init(_ request: APIRequest, now: Instant) throws {
        body = try request.json()
        self.now = now
        let fields = JSONObjectReader(body)
        fields.rejectImmutable(["id", "tenant"], of: "an API key")
        fields.rejectNull(["name", "scopes", "preset"])
        _ = read(fields, CredentialNarrowing.none)
        try fields.finish()
    }

    /// The key as the body wants it; its revision rises when that is something else.
    func applied(to key: APIKey) -> APIKey {
        let wanted = read(JSONObjectReader(body), key.narrowing)
        var changed = key
        changed.name = wanted.name ?? key.name
        changed.scopes = wanted.scopes ?? key.scopes
        changed.narrowing = wanted.narrowing
        if body["expires_at"] != nil { changed.expiresAt = wanted.expiresAt }
        let isChanged =
            changed.name != key.name || changed.scopes != key.scopes || changed.narrowing != key.narrowing
            || changed.expiresAt != key.expiresAt
        if isChanged { changed.revision += 1 }
        return changed
    }

    private struct Wanted {
        let name: String?
        let scopes: ScopeSet?
        let narrowing: CredentialNarrowing
        let expiresAt: Instant?
    }

    private func read(_ fields: JSONObjectReader, _ current: CredentialNarrowing) -> Wanted {
        Wanted(
            name: fields.optionalString("name", maximumLength: 200),
            scopes: fields.optionalScopes(),
            narrowing: current.patched(fields, in: body),
            expiresAt: fields.futureInstant("expires_at", now: now)
        )
    }
}

extension JSONObjectReader {
    fileprivate func futureInstant(_ name: String, now: Instant) -> Instant? {
        let instant = optionalInstant(name)
        if let instant, instant <= now {
            fault(at: name, code: "in_the_past", detail: "\"\(name)\" must be in the future")
        }
        return instant
    }
}
