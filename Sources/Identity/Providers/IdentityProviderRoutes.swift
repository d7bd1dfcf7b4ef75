import BillingCore
import HTTPTypes
import Postgres
import Web

/// `/api/v1/identity-providers`: whose tokens are believed. For operators; nobody lets in tokens that may do more than
/// its own credential.
struct IdentityProviderRoutes: Sendable {
    let pool: PostgresPool
    let writes: IdempotentWrites
    /// Which addresses keys may be fetched from.
    let outbound: OutboundGuard
    let authentication: IdentityProviderAuthentication

    func register(in operations: Operations) {
        let (all, one) = ("/identity-providers", "/identity-providers/{key}")
        operations.post(all, "createIdentityProvider", scope: .identityWrite) { try await create($0, $1) }
        operations.get(all, "listIdentityProviders", scope: .identityWrite) { try await list($0, $1) }
        operations.get(one, "getIdentityProvider", scope: .identityWrite) { try await get($0, $1) }
        operations.put(one, "replaceIdentityProvider", scope: .identityWrite) { try await replace($0, $1) }
        operations.delete(one, "deleteIdentityProvider", scope: .identityWrite) { try await delete($0, $1) }
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try Self.requireOperator(context)
        let provider = try IdentityProviderInput(try request.fields(), key: nil, now: context.clock.now()).provider
        try requireMayTrust(provider, context)
        try requireReachable(provider.jwksURI)
        let answer = try await writes.perform(request, context) { transaction in
            switch try IdentityProviderStore.insert(provider, in: transaction) {
            case .inserted: break
            case .full: throw Self.tooMany
            case .taken:
                guard try IdentityProviderStore.lock(provider.key, in: transaction) == nil else {
                    throw Problem.alreadyExists("identity_provider", provider.key)
                }
                throw Self.issuerTaken(provider.issuer)
            }
            let body = IdentityProviderBody(provider)
            try Self.record("created", provider.key, after: body, context, in: transaction)
            return try .created(
                body,
                location: "/identity-providers/\(provider.key)",
                revision: provider.revision
            )
        }
        authentication.forgetAll()
        return answer
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try Self.requireOperator(context)
        let query = request.query()
        let page = query.page()
        try query.finish()
        let rows = try await IdentityProviderStore.list(after: page.after?.first, count: page.fetchCount, pool: pool)
        return try .json(page.page(rows) { [$0.key] }.map { IdentityProviderBody($0) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try Self.requireOperator(context)
        try request.query().finish()
        let key = try request.parameter("key")
        guard let provider = try await IdentityProviderStore.find(key, pool: pool) else {
            throw Problem.notFound("identity_provider", key)
        }
        return try .json(IdentityProviderBody(provider), revision: provider.revision)
    }

    private func replace(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try Self.requireOperator(context)
        let key = try request.parameter("key")
        let now = context.clock.now()
        let input = try IdentityProviderInput(try request.fields(), key: key, now: now).provider
        try requireMayTrust(input, context)
        let answer = try await writes.perform(request, context) { transaction in
            let before = try Self.locked(key, request, in: transaction)
            // One whose keys may not be fetched any more can be changed all the same, and disabled.
            if input.jwksURI != before.jwksURI { try requireReachable(input.jwksURI) }
            guard try !IdentityProviderStore.isTaken(issuer: input.issuer, otherThan: key, in: transaction) else {
                throw Self.issuerTaken(input.issuer)
            }
            var after = input
            after.createdAt = before.createdAt
            after.revision = before.revision + 1
            try IdentityProviderStore.update(after, in: transaction)
            let body = IdentityProviderBody(after)
            try Self.record(
                "replaced",
                key,
                before: IdentityProviderBody(before),
                after: body,
                context,
                in: transaction
            )
            return try .json(body, revision: after.revision)
        }
        authentication.forgetAll()
        return answer
    }

    private func delete(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try Self.requireOperator(context)
        let key = try request.parameter("key")
        let answer = try await writes.perform(request, context) { transaction in
            let before = try Self.locked(key, request, in: transaction)
            IdentityProviderStore.delete(key, in: transaction)
            try Self.record("deleted", key, before: IdentityProviderBody(before), context, in: transaction)
            return .noContent
        }
        authentication.forgetAll()
        return answer
    }

    private func requireReachable(_ jwksURI: String) throws(Problem) {
        guard let fault = OutboundURL.fault(in: jwksURI, named: "jwks_uri", by: outbound) else { return }
        throw .validationFailed([FieldFault(pointer: "/jwks_uri", code: "invalid_url", detail: fault)])
    }

    private func requireMayTrust(_ provider: IdentityProvider, _ context: RequestContext) throws(Problem) {
        try context.principal.requireMayGrant(provider.allowedScopes, .none)
        guard provider.issuer != authentication.ownIssuer else {
            throw .validationFailed([
                .init(pointer: "/issuer", code: "own_issuer", detail: "this is the name of this service itself")
            ])
        }
    }

    private static func locked(
        _ key: String,
        _ request: APIRequest,
        in transaction: borrowing Transaction
    ) throws -> IdentityProvider {
        guard let provider = try IdentityProviderStore.lock(key, in: transaction) else {
            throw Problem.notFound("identity_provider", key)
        }
        try request.ifMatch.require(provider.revision)
        return provider
    }

    private static func requireOperator(_ context: RequestContext) throws(Problem) {
        guard context.principal.isOperatorWide else {
            throw .forbidden(
                code: "operator_only",
                detail: "Identity providers are an operator's; this credential is bound to a tenant."
            )
        }
    }

    private static let tooMany = Problem.conflict(
        code: "too_many_identity_providers",
        detail: "There are already \(IdentityProviderStore.maximumCount) identity providers."
    )

    private static func issuerTaken(_ issuer: String) -> Problem {
        Problem(
            .conflict,
            code: "issuer_taken",
            detail: "There is already an identity provider with the issuer '\(issuer)'.",
            errors: [.init(pointer: "/issuer", code: "taken", detail: "'\(issuer)' is taken.")]
        )
    }

    private static func record(
        _ what: String,
        _ key: String,
        before: IdentityProviderBody? = nil,
        after: IdentityProviderBody? = nil,
        _ context: RequestContext,
        in transaction: borrowing Transaction
    ) throws {
        try AuditLog.record(
            in: transaction,
            by: context,
            action: "identity_provider.\(what)",
            resource: ("identity_provider", key),
            tenant: .operatorWide,
            before: before,
            after: after
        )
    }
}
