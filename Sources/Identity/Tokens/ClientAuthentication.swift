import BillingCore
import Foundation
import HTTPTypes
import Postgres
import Synchronization
import Web

/// Says which client calls a token endpoint (RFC 6749, section 2.3; RFC 7523, section 2.2). Failures count against the
/// caller's address and the client it claims to be, as they do in the API.
struct ClientAuthentication: Sendable {
    let pool: PostgresPool
    let assertions: ClientAssertionJudge
    let failures: FailedAuthentications
    private let known = RecentClients()

    init(
        pool: PostgresPool,
        assertions: ClientAssertionJudge,
        failures: FailedAuthentications
    ) {
        self.pool = pool
        self.assertions = assertions
        self.failures = failures
    }

    /// What a request shows, by exactly one of the methods.
    private enum Presented {
        case secret(OAuthClient.AuthenticationMethod, clientID: String, secret: String)
        case assertion(String, clientID: String?)

        var clientID: String? {
            switch self {
            case .secret(_, let clientID, _): clientID
            case .assertion(_, let clientID): clientID
            }
        }
    }

    /// The authenticated client, which is active, or the `invalid_client` that does not say what is wrong.
    func client(_ request: APIRequest, _ form: OAuthForm, _ context: RequestContext) async throws -> OAuthClient {
        var claimed: String?
        do {
            let presented = try Self.presented(request, form)
            claimed = presented.clientID
            let client = try await client(of: presented, now: context.clock.now(), from: context.clientAddress)
            known.note(client.id)
            return client
        } catch let error as OAuthError where error.code == .invalidClient {
            let answer = failed(.unauthenticated(error.description), claimed, context)
            if answer.status == .tooManyRequests { throw answer }
            throw error
        } catch let problem as Problem where problem.status == .tooManyRequests {
            throw failed(problem, claimed, context)
        }
    }

    private func failed(_ problem: Problem, _ claimed: String?, _ context: RequestContext) -> Problem {
        failures.answer(
            to: problem,
            of: .client,
            from: context.clientAddress,
            credentialID: claimed.flatMap { OAuthClient.isID($0) ? "client:\($0)" : nil }
        )
    }

    private func client(
        of presented: Presented,
        now: Instant,
        from address: IPAddress
    ) async throws -> OAuthClient {
        /// An id that nobody has authenticated as here is looked up while its address has failures left (ADR 0018).
        let permit = { @Sendable (id: String) throws(Problem) in
            guard !known.contains(id) else { return }
            try failures.throttle.requireFailuresLeft(address)
        }
        switch presented {
        case .secret(let method, let clientID, let secret):
            try permit(clientID)
            return try await client(clientID, secret: secret, by: method, now: now)
        case .assertion(let text, let clientID):
            let client = try await assertions.client(of: text, now: now, permit: permit)
            guard clientID == nil || clientID == client.id else {
                throw OAuthError(.invalidRequest, "client_id is not the subject of the assertion.")
            }
            return client
        }
    }

    private func client(
        _ id: String,
        secret: String,
        by method: OAuthClient.AuthenticationMethod,
        now: Instant
    ) async throws -> OAuthClient {
        let hash = ClientSecret.hash(of: secret)
        guard OAuthClient.isID(id), let stored = try await OAuthClientStore.find(id: id, pool: pool),
            stored.secrets.match(hash, at: now), stored.client.isActive
        else { throw OAuthError.unknownClient }
        guard stored.client.method == method else {
            let expected = stored.client.method.rawValue
            throw OAuthError(.invalidClient, "This client is registered for \(expected), not \(method.rawValue).")
        }
        return stored.client
    }

    private static func presented(_ request: APIRequest, _ form: OAuthForm) throws(OAuthError) -> Presented {
        let field = request.headers[.authorization]
        let isAsserted = form["client_assertion"] != nil || form["client_assertion_type"] != nil
        let methods = [field != nil, form["client_secret"] != nil, isAsserted].count { $0 }
        guard methods <= 1 else {
            throw OAuthError(.invalidRequest, "A client authenticates by one method, not by several.")
        }
        if let field { return try basic(field, form) }
        if isAsserted {
            guard form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" else {
                throw OAuthError(.invalidRequest, "client_assertion_type must be that of RFC 7523.")
            }
            return .assertion(try form.required("client_assertion"), clientID: form["client_id"])
        }
        guard let secret = form["client_secret"] else {
            throw OAuthError(.invalidClient, "The client has not authenticated.")
        }
        return .secret(.post, clientID: try form.required("client_id"), secret: secret)
    }

    /// User and password are form-encoded before they are joined and encoded in base64 (RFC 6749, section 2.3.1).
    private static func basic(_ field: String, _ form: OAuthForm) throws(OAuthError) -> Presented {
        let parts = field.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "basic",
            let bytes = Data(base64Encoded: String(parts[1])), let pair = String(validating: bytes, as: UTF8.self),
            let colon = pair.firstIndex(of: ":"),
            let user = OAuthForm.decoded(pair[..<colon]),
            let password = OAuthForm.decoded(pair[pair.index(after: colon)...])
        else {
            throw OAuthError(.invalidClient, "The Authorization field must be Basic with a client id and its secret.")
        }
        if let stated = form["client_id"], stated != user {
            throw OAuthError(.invalidRequest, "client_id is not the client of the Authorization field.")
        }
        return .secret(.basic, clientID: user, secret: password)
    }
}

/// Ids of clients that have authenticated here: some of them, forgotten all at once when they are many.
private final class RecentClients: Sendable {
    private static let capacity = 10_000

    private let ids = Mutex<Set<String>>([])

    func contains(_ id: String) -> Bool {
        ids.withLock { $0.contains(id) }
    }

    func note(_ id: String) {
        ids.withLock { ids in
            if ids.count >= Self.capacity { ids.removeAll(keepingCapacity: true) }
            ids.insert(id)
        }
    }
}
