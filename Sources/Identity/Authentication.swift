import HTTPTypes
import Metrics
import Postgres
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
    /// Of operations that are answered in an outage.
    let deadline: AnswerDeadline
    let reading = DeadlineWork()

    /// For how long what was read last of a credential may stand in while the database is away: a quarter of an hour.
    static let lastKnownMicroseconds: Int64 = 900_000_000

    /// What Admission counts its calls by that get no decision: those that are refused here never get there.
    private static let unavailable = Counter(
        label: "turnpike_admissions_unavailable_total",
        dimensions: [("answered", "closed")]
    )

    /// The principal of a presented credential, or the 401, which does not say what is wrong with it.
    ///
    /// An operation that is answered in an outage waits for the database only so long, and goes by what was read last
    /// then; no other one does.
    /// - Throws: 503 `limits_unavailable` where such an operation's credential is not known.
    package func principal(
        of presented: PresentedCredential,
        from address: IPAddress,
        for operation: Operation
    ) async throws -> Principal {
        if let principal = recent(presented) { return principal }
        guard operation.isAnsweredInOutage else {
            // A signature takes long for the thread of a connection.
            return try await withTaskExecutorPreference(globalConcurrentExecutor) {
                try await judged(presented, from: address)
            }
        }
        let patience = lastKnown(presented) == nil ? deadline.whole : deadline.authentication
        do {
            return try await reading.result(by: .now + patience) { try await judged(presented, from: address) }
        } catch  where error.leavesUnknown {
            // Asked again: it may have been revoked meanwhile.
            if let last = lastKnown(presented) { return last }
            Self.unavailable.increment()
            throw Problem.credentialUnavailable
        }
    }

    private func recent(_ presented: PresentedCredential) -> Principal? {
        switch presented.kind {
        case .token(let text): tokens?.recent(text)
        case .secret(let text, .apiKey): apiKeys.recent(text)
        case .secret(let text, .portalSession): portalSessions.recent(text)
        }
    }

    private func lastKnown(_ presented: PresentedCredential) -> Principal? {
        switch presented.kind {
        case .token(let text): tokens?.lastKnown(text) ?? providers.lastKnown(text)
        case .secret(let text, .apiKey): apiKeys.lastKnown(text)
        case .secret(let text, .portalSession): portalSessions.lastKnown(text)
        }
    }

    /// The principal by what the database says, or the 401.
    func judged(_ presented: PresentedCredential, from address: IPAddress) async throws -> Principal {
        let text = presented.text
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

    /// Has everything read again before it is believed, because a change may have been missed. What was read last may
    /// stand in all the same, but not of what a change was announced of.
    func makeStale() {
        apiKeys.makeStale()
        portalSessions.makeStale()
        tokens?.makeStale()
        providers.makeStale()
    }

    /// Forgets everything, also what was read last, because it is not known what a change was announced of.
    func forgetAll() {
        apiKeys.forgetAll()
        portalSessions.forgetAll()
        tokens?.forgetAll()
        providers.forgetAll()
    }
}

extension Error {
    /// Whether the database has said nothing of a credential, as on a standby that breaks a reading off.
    fileprivate var leavesUnknown: Bool {
        guard let error = self as? PostgresError else { return self is DeadlineFault }
        return error.isUnavailable || error.isRetryable || error.outcomeUnknown
    }
}

extension PresentedCredential {
    fileprivate enum Kind {
        case token(String)
        case secret(String, APIKeyText.Kind)
    }

    fileprivate var text: String {
        switch self {
        case .bearer(let text), .apiKey(let text): text
        }
    }

    fileprivate var kind: Kind {
        if case .bearer(let text) = self, CompactJWT.hasForm(of: text) { return .token(text) }
        return .secret(text, APIKeyText.Kind.portalSession.isKind(of: text) ? .portalSession : .apiKey)
    }
}

extension Problem {
    fileprivate static let credentialUnavailable = Problem(
        .serviceUnavailable,
        code: "limits_unavailable",
        detail: "The credential can't be read now, and is not known here. Try again.",
        headers: [.retryAfter: "1"]
    )
}
