import BillingCore
import HTTPTypes
import Identity
import Postgres
import Web

/// `/api/v1/webhook-endpoints`. A caller bound to a tenant sees and makes its tenant's endpoints. An operator names the
/// tenant of one that is not its own: `?tenant=acme`.
struct WebhookEndpointRoutes: Sendable {
    static let resource = "webhook_endpoint"

    let pool: PostgresPool
    let writes: IdempotentWrites
    let tenants: TenantDirectory
    let pace: ChangePace
    /// Nil makes no endpoints that have a secret.
    let masterKey: MasterKey?
    /// Whether the service can send mail.
    let sendsMail: Bool
    /// Where the operator's own endpoints may lead.
    let outbound: OutboundGuard
    /// Where those of tenants may lead.
    let tenantOutbound: OutboundGuard

    func register(in operations: Operations) {
        let (all, one) = ("/webhook-endpoints", "/webhook-endpoints/{key}")
        operations.post(all, "createWebhookEndpoint", scope: .webhooksWrite) { try await create($0, $1) }
        operations.get(all, "listWebhookEndpoints", scope: .webhooksRead) { try await list($0, $1) }
        operations.get(one, "getWebhookEndpoint", scope: .webhooksRead) { try await get($0, $1) }
        operations.patch(one, "updateWebhookEndpoint", scope: .webhooksWrite, readsQuery: true) {
            try await update($0, $1)
        }
        operations.delete(one, "deleteWebhookEndpoint", scope: .webhooksWrite, readsQuery: true) {
            try await delete($0, $1)
        }
        operations.post(one + "/rotate-secret", "rotateWebhookEndpointSecret", scope: .webhooksWrite, readsQuery: true)
        {
            try await rotate($0, $1)
        }
        operations.post(one + "/test", "testWebhookEndpoint", scope: .webhooksWrite, readsQuery: true) {
            try await test($0, $1)
        }
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let isBound = !context.principal.isOperatorWide
        let new = try NewWebhookEndpoint(request) { tenantKey in
            isBound || tenantKey != nil ? tenantOutbound : outbound
        }
        let owner = EndpointOwner(
            tenant: try await tenants.grantedTenant(named: new.tenantKey, by: context.principal),
            key: context.principal.tenantKey ?? new.tenantKey
        )
        let id = WebhookEndpointID(tenant: owner.tenant, key: new.key)
        let key = new.signing.map { WebhookSigningKey(generating: $0) }
        let sealedSecret = try key?.sealed(for: id, try requiredMasterKey())
        if new.kind == .email {
            guard context.principal.isOperatorWide else { throw Problem.mailIsForOperators }
            guard sendsMail else { throw Problem.mailNotConfigured }
        }
        try await pace.turn(of: context.principal)
        let now = context.clock.now()
        let endpoint = WebhookEndpoint(
            id: id,
            kind: new.kind,
            url: new.url,
            description: new.description,
            events: new.events,
            isEnabled: new.isEnabled,
            signing: new.signing,
            publicKey: try key?.publicText(),
            createdAt: now,
            updatedAt: now,
            revision: 1
        )
        let sealedURL = try sealedURL(of: endpoint)
        return try await writes.perform(request, context) { transaction in
            let insertion = try WebhookEndpointStore.insert(
                endpoint,
                sealedSecret: sealedSecret,
                sealedURL: sealedURL,
                in: transaction
            )
            switch insertion {
            case .inserted: break
            case .taken: throw Problem.alreadyExists(Self.resource, new.key)
            case .full: throw Problem.tooManyEndpoints
            }
            let body = WebhookEndpointBody(endpoint, tenantKey: owner.key)
            try Self.record("created", id, after: body.audited, context, in: transaction)
            var answer = try body.answer(showing: key, status: .created, revision: endpoint.revision)
            let query = owner.key.map { context.principal.isOperatorWide ? "?tenant=\($0)" : "" } ?? ""
            answer.headers[.location] = "\(Operations.basePath)/webhook-endpoints/\(new.key)\(query)"
            return answer
        }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let asked = query.string("tenant")
        try query.finish()
        let owner = try await EndpointOwner(named: asked, context, tenants)
        let rows = try await WebhookEndpointStore.list(
            tenant: owner.key == nil ? nil : owner.tenant,
            after: try Self.position(page),
            count: page.fetchCount,
            scope: context.databaseScope,
            pool: pool
        )
        let endpoints = page.page(rows) { [$0.id.tenant.description, $0.id.key] }
        let keys = try await tenants.keys(Set(endpoints.data.map(\.id.tenant)).subtracting([.operatorWide]))
        return try .json(endpoints.map { WebhookEndpointBody($0, tenantKey: keys[$0.id.tenant]) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let (id, owner) = try await endpoint(request, context)
        guard let endpoint = try await WebhookEndpointStore.find(id, scope: context.databaseScope, pool: pool) else {
            throw Problem.noWebhookEndpoint(id.key, of: owner, context)
        }
        return try .json(WebhookEndpointBody(endpoint, tenantKey: owner.key), revision: endpoint.revision)
    }

    /// Disabling one ends what was on its way to it, and so does enabling it again with what is left of that.
    private func update(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let patch = try WebhookEndpointPatch(request)
        try await pace.turn(of: context.principal)
        while true {
            do {
                return try await updateAtOnce(patch, request, context)
            } catch let long as LongLog {
                let now = context.clock.now()
                while try await DeliveryQueue.cancelSome(of: long.endpoint, at: now, pool: pool) {}
            }
        }
    }

    private func updateAtOnce(
        _ patch: WebhookEndpointPatch,
        _ request: APIRequest,
        _ context: RequestContext
    ) async throws -> Answer {
        try await change(request, context) { endpoint, owner, now, transaction in
            let addresses = endpoint.id.tenant == .operatorWide ? outbound : tenantOutbound
            var updated = try patch.applied(to: endpoint, addresses: addresses)
            if endpoint.kind == .email, updated.url != endpoint.url, !context.principal.isOperatorWide {
                throw Problem.mailIsForOperators
            }
            let before = WebhookEndpointBody(endpoint, tenantKey: owner.key)
            guard updated != endpoint else { return try .json(before, revision: endpoint.revision) }
            if updated.isEnabled, !endpoint.isEnabled {
                // Others wait behind this for their turn.
                transaction.waitForLocks(atMost: .seconds(1))
                OutboxFanOut.awaitOthers(in: transaction)
                guard try !DeliveryLog.isLong(of: endpoint.id, isWaiting: true, in: transaction) else {
                    throw LongLog(endpoint: endpoint.id)
                }
            }
            updated.updatedAt = now
            updated.revision += 1
            // One that an earlier release stored as it is can stay so without a master key, and nothing else.
            let staysPlain = masterKey == nil && updated.url == endpoint.url
            let sealedURL = staysPlain ? nil : try sealedURL(of: updated)
            WebhookEndpointStore.update(updated, from: endpoint, sealedURL: sealedURL, in: transaction)
            if !updated.isEnabled || !endpoint.isEnabled {
                DeliveryQueue.cancelWaiting(for: endpoint.id, at: now, in: transaction)
            }
            let after = WebhookEndpointBody(updated, tenantKey: owner.key)
            let (from, to) = (before.audited, try after.audited(changing: endpoint, to: updated))
            try Self.record("updated", endpoint.id, before: from, after: to, context, in: transaction)
            return try .json(after, revision: updated.revision)
        }
    }

    /// All that was ever delivered to it, which goes with it, or waits, could take longer than a statement may.
    private struct LongLog: Error {
        let endpoint: WebhookEndpointID
    }

    /// Of a long log most goes first, in pieces: what is done, and what waits for one that is told nothing more.
    private func delete(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try await pace.turn(of: context.principal)
        while true {
            do {
                return try await deleteAtOnce(request, context)
            } catch let long as LongLog {
                while try await DeliveryLog.removeSome(of: long.endpoint, pool: pool) {}
            }
        }
    }

    private func deleteAtOnce(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try await change(request, context) { endpoint, owner, _, transaction in
            guard try !endpoint.isEnabled || !DeliveryLog.isLong(of: endpoint.id, isWaiting: true, in: transaction)
            else { throw Problem.deliveriesWait }
            guard try !DeliveryLog.isLong(of: endpoint.id, isWaiting: false, in: transaction) else {
                throw LongLog(endpoint: endpoint.id)
            }
            WebhookEndpointStore.delete(endpoint.id, in: transaction)
            let before = WebhookEndpointBody(endpoint, tenantKey: owner.key).audited
            try Self.record("deleted", endpoint.id, before: before, context, in: transaction)
            return .noContent
        }
    }

    private func rotate(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let rotation = try WebhookSecretRotation(request)
        let masterKey = try requiredMasterKey()
        try await pace.turn(of: context.principal)
        return try await change(request, context) { endpoint, owner, now, transaction in
            guard let signing = endpoint.signing else { throw Problem.unsignedEndpoint }
            let key = WebhookSigningKey(generating: signing)
            if rotation.overlapSeconds > 0, let end = endpoint.previousSecretExpiresAt, end > now {
                throw Problem.overlappingRotation(until: end)
            }
            var rotated = endpoint
            rotated.previousPublicKey = endpoint.publicKey
            rotated.publicKey = try key.publicText()
            rotated.previousSecretExpiresAt = now.adding(seconds: rotation.overlapSeconds)
            rotated.updatedAt = now
            rotated.revision += 1
            let sealedSecret = try key.sealed(for: endpoint.id, masterKey)
            WebhookEndpointStore.rotate(rotated, to: sealedSecret, in: transaction)
            let before = WebhookEndpointBody(endpoint, tenantKey: owner.key)
            let after = WebhookEndpointBody(rotated, tenantKey: owner.key)
            let (from, to) = (before.audited, after.audited)
            try Self.record("secret_rotated", endpoint.id, before: from, after: to, context, in: transaction)
            return try after.answer(showing: key, status: .ok, revision: rotated.revision)
        }
    }

    /// Puts an event on its way to this endpoint alone, whatever events it is told.
    private func test(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.fields(emptyIsObject: true).finish()
        try await pace.turn(of: context.principal)
        return try await change(request, context) { endpoint, owner, now, transaction in
            guard endpoint.isEnabled else { throw Problem.disabledEndpoint }
            guard endpoint.kind != .email || context.principal.isOperatorWide else { throw Problem.mailIsForOperators }
            let event = OutboxEvent(
                id: context.ids.next(),
                tenant: endpoint.id.tenant,
                type: .webhookTest,
                occurredAt: now,
                data: .members([
                    "tenant": owner.key.map(JSONValue.string) ?? .null, "endpoint": .string(endpoint.id.key),
                ])
            )
            let id = WebhookDeliveryID(rawValue: context.ids.next())
            let delivery = DeliveryRecord(id: id, of: event, to: endpoint.id, at: now)
            OutboxFanOut.insert(event, fannedOutAt: now, in: transaction)
            DeliveryQueue.insert([delivery], in: transaction)
            let body = DeliveryBody(delivery, tenantKey: owner.key)
            try Self.record("tested", endpoint.id, after: body, context, in: transaction)
            var answer = try Answer.json(body, status: .accepted)
            answer.headers[.location] = "\(Operations.basePath)/deliveries/\(delivery.id)"
            return answer
        }
    }

    private typealias Change =
        @Sendable (WebhookEndpoint, EndpointOwner, _ now: Instant, borrowing Transaction) throws -> Answer

    /// Runs a change on the locked endpoint, when it is there for this caller and is the version it means.
    private func change(
        _ request: APIRequest,
        _ context: RequestContext,
        _ work: @escaping Change
    ) async throws -> Answer {
        let (id, owner) = try await endpoint(request, context)
        // Whether row-level security too lets the caller see it. A repeated request is answered even if it is gone.
        let isVisible = try await WebhookEndpointStore.find(id, scope: context.databaseScope, pool: pool) != nil
        let now = context.clock.now()
        return try await writes.perform(request, context) { transaction in
            guard isVisible, let endpoint = try WebhookEndpointStore.lock(id, in: transaction) else {
                throw Problem.noWebhookEndpoint(id.key, of: owner, context)
            }
            try request.ifMatch.require(endpoint.revision)
            return try work(endpoint, owner, now, transaction)
        }
    }

    private func endpoint(
        _ request: APIRequest,
        _ context: RequestContext
    ) async throws -> (WebhookEndpointID, EndpointOwner) {
        let query = request.query()
        let asked = query.string("tenant")
        try query.finish()
        let key = try request.parameter("key")
        let owner = try await EndpointOwner(named: asked, context, tenants)
        return (WebhookEndpointID(tenant: owner.tenant, key: key), owner)
    }

    /// Nil where nothing of the URL is a secret, or it is sealed already.
    private func sealedURL(of endpoint: WebhookEndpoint) throws -> [UInt8]? {
        guard endpoint.hasSecretURL else { return nil }
        return try SealedURL.seal(endpoint.url, of: endpoint.id, try requiredMasterKey())
    }

    private func requiredMasterKey() throws(Problem) -> MasterKey {
        guard let masterKey else { throw .webhooksNotConfigured }
        return masterKey
    }

    private static func position(_ page: PageRequest) throws(Problem) -> WebhookEndpointID? {
        guard let after = page.after else { return nil }
        guard after.count == 2, let tenant = Int64(after[0]) else { throw PageRequest.invalidCursor }
        return WebhookEndpointID(tenant: TenantID(tenant), key: after[1])
    }

    private static func record(
        _ what: String,
        _ id: WebhookEndpointID,
        before: (any Encodable)? = nil,
        after: (any Encodable)? = nil,
        _ context: RequestContext,
        in transaction: borrowing Transaction
    ) throws {
        try AuditLog.record(
            in: transaction,
            by: context,
            action: "\(resource).\(what)",
            resource: (resource, id.key),
            tenant: id.tenant,
            before: before,
            after: after
        )
    }
}

extension Problem {
    /// An operator who names no tenant asks for its own; that lists show those of tenants, too, invites the question.
    static func noWebhookEndpoint(_ key: String, of owner: EndpointOwner, _ context: RequestContext) -> Problem {
        let resource = WebhookEndpointRoutes.resource
        guard context.principal.isOperatorWide, owner.key == nil else { return notFound(resource, key) }
        return notFound(
            resource,
            key,
            detail: "There is no webhook endpoint '\(key)' of the operator. Say whose is meant: ?tenant=KEY."
        )
    }

    fileprivate static let webhooksNotConfigured = Problem.conflict(
        code: "webhooks_not_configured",
        detail: "This service keeps no secrets of webhooks: TURNPIKE_MASTER_KEY is not set."
    )
    fileprivate static let mailNotConfigured = Problem.conflict(
        code: "mail_not_configured",
        detail: "This service sends no mail: TURNPIKE_MAIL_FROM is not set."
    )
    /// Else a tenant's credential could send mail to anybody in the operator's name.
    static let mailIsForOperators = Problem.forbidden(
        code: "operator_only",
        detail:
            "Whom mail is sent to, and a mail to try it, is an operator's choice; this credential is bound to a tenant."
    )
    fileprivate static let deliveriesWait = Problem.conflict(
        code: "deliveries_wait",
        detail:
            "Thousands of deliveries wait for this endpoint. Disable it first ({\"enabled\": false}), which ends them."
    )
    fileprivate static let tooManyEndpoints = Problem.conflict(
        code: "too_many_webhook_endpoints",
        detail: "There are already \(WebhookEndpointStore.maximumCount) webhook endpoints."
    )
    fileprivate static let unsignedEndpoint = Problem.conflict(
        code: "webhook_endpoint_has_no_secret",
        detail: "Only endpoints of the kind \"webhook\" are signed; this one has no secret."
    )
    fileprivate static func overlappingRotation(until end: Instant) -> Problem {
        .conflict(
            code: "webhook_secret_overlap",
            detail: "The secret before the present one still signs, until \(end). Rotate after that, or with "
                + "\"overlap_seconds\" 0, which ends both at once."
        )
    }
    static let disabledEndpoint = Problem.conflict(
        code: "webhook_endpoint_disabled",
        detail: "This webhook endpoint is disabled. Enable it first."
    )
}
