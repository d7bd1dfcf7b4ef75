import HTTPTypes
package import Web

/// Says who presents a credential, whatever its kind: the text tells the kind, and each kind has its own judge.
package struct Authentication: Sendable {
    let apiKeys: SecretAuthentication
    let portalSessions: SecretAuthentication
    /// Nil where no tokens are issued.
    let tokens: AccessTokenAuthentication?
    /// When API keys were used.
    let use: CredentialUse
    let providers: IdentityProviderAuthentication
    let failures: FailedAuthentications

    /// The principal of a presented credential, or the 401, which does not say what is wrong with it.
    package func principal(of presented: PresentedCredential, from address: IPAddress) async throws -> Principal {
        let text =
            switch presented {
            case .bearer(let text), .apiKey(let text): text
            }
        let kind: APIKeyText.Kind = APIKeyText.Kind.portalSession.isKind(of: text) ? .portalSession : .apiKey
        do {
            if case .bearer = presented, CompactJWT.hasForm(of: text) {
                if let principal = tokens?.recent(text) { return principal }
                if try await providers.isForUs(text) {
                    return try await providers.principal(of: text, from: address)
                }
                if let tokens { return try await tokens.principal(of: text, from: address) }
            }
            return try await (kind == .apiKey ? apiKeys : portalSessions).principal(of: text, from: address)
        } catch let problem as Problem where [.unauthorized, .tooManyRequests].contains(problem.status) {
            let key = try? APIKeyText(parsing: text, as: kind)
            let isToken = key == nil && CompactJWT.hasForm(of: text)
            throw failures.answer(
                to: problem,
                of: isToken ? .token : kind == .apiKey ? .apiKey : .portalSession,
                from: address,
                credentialID: key?.credentialID
            )
        }
    }

    /// Forgets what a change of credentials was announced of.
    func forget(_ change: CredentialChanges.Change) {
        switch change {
        case .apiKey(let id): apiKeys.forget(id: id)
        case .portalSession(let id): portalSessions.forget(id: id)
        case .client(let id): tokens?.forget(clientID: id)
        case .token(let id): tokens?.forget(tokenID: id)
        case .tenant(let id):
            apiKeys.forget(tenant: id)
            portalSessions.forget(tenant: id)
            tokens?.forget(tenant: id)
            providers.forgetAll()
        case .signingKeys: break
        }
    }

    /// Forgets everything, because a change may have been missed.
    func forgetAll() {
        apiKeys.forgetAll()
        portalSessions.forgetAll()
        tokens?.forgetAll()
        providers.forgetAll()
    }
}
