import BillingCore
import Foundation
import HTTPTypes
import Postgres
import Web

/// Says which client calls a token endpoint (RFC 6749, section 2.3; RFC 7523, section 2.2). Failures count against the
/// caller's address and the client it claims to be, as they do in the API.
struct ClientAuthentication: Sendable {
    private let clients: ClientReading
    private let assertions: ClientAssertionJudge
    private let failures: FailedAuthentications

    init(
        pool: PostgresPool,
        assertions: ClientAssertionJudge,
        failures: FailedAuthentications
    ) {
        clients = ClientReading(pool: pool, throttle: failures.throttle)
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

    /// The authenticated client, which is active, with a place for its tenant that the request keeps; or the
    /// `invalid_client` that does not say what is wrong.
    func client(
        _ request: APIRequest,
        _ form: OAuthForm,
        _ context: RequestContext
    ) async throws -> (OAuthClient, TenantPlaces.Place?) {
        var claimed: String?
        do {
            let presented = try Self.presented(request, form)
            claimed = presented.clientID
            let (client, place) = try await client(of: presented, context)
            clients.note(client.id)
            return (client, place)
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
        _ context: RequestContext
    ) async throws -> (OAuthClient, TenantPlaces.Place?) {
        let (now, address) = (context.clock.now(), context.clientAddress)
        let find = { @Sendable (id: String) async throws -> OAuthClientStore.Stored? in
            try await clients.find(id, from: address, now: now)
        }
        switch presented {
        case .secret(let method, let clientID, let secret):
            guard OAuthClient.isID(clientID), let stored = try await find(clientID) else {
                throw OAuthError.unknownClient
            }
            let client = try Self.client(stored, secret: secret, by: method, now: now)
            return (client, try context.place(for: client.boundTenantID))
        case .assertion(let text, let clientID):
            let assertion = try await assertions.judged(text, now: now, find: find)
            guard clientID == nil || clientID == assertion.client.id else {
                throw OAuthError(.invalidRequest, "client_id is not the subject of the assertion.")
            }
            let place = try context.place(for: assertion.client.boundTenantID)
            try await assertions.use(assertion)
            return (assertion.client, place)
        }
    }

    private static func client(
        _ stored: OAuthClientStore.Stored,
        secret: String,
        by method: OAuthClient.AuthenticationMethod,
        now: Instant
    ) throws(OAuthError) -> OAuthClient {
        guard stored.secrets.match(ClientSecret.hash(of: secret), at: now), stored.client.isActive else {
            throw .unknownClient
        }
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
