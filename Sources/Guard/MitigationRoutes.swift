import BillingCore
package import Catalog
package import Postgres
package import Web
import Webhooks

/// `/mitigations`: what operators have admission refuse for a time. Each is part of the shared catalogue, so that no
/// call is admitted that was decided after it was made.
package struct MitigationRoutes: Sendable {
    /// How many may be in force: each call looks at those of its tenant and of all.
    static let mostInForce = 1_000

    private let desk: CatalogDesk

    package init(catalog: Catalog, pool: PostgresPool) {
        desk = CatalogDesk(pool: pool, catalog: catalog)
    }

    package func register(in operations: Operations) {
        operations.get("/mitigations", "listMitigations", scope: .guardWrite, handler: desk.operatorOnly(list))
        operations.post("/mitigations", "createMitigation", scope: .guardWrite, handler: desk.operatorOnly(create))
        operations.get("/mitigations/{id}", "getMitigation", scope: .guardWrite, handler: desk.operatorOnly(get))
        operations.post(
            "/mitigations/{id}/lift",
            "liftMitigation",
            scope: .guardWrite,
            handler: desk.operatorOnly(lift)
        )
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let asked = query.string("tenant")
        let status = query.oneOf("status", Mitigation.Status.self)
        try query.finish()
        let tenant = try await desk.catalog.tenantFilter(asked, for: context)?.key
        let position = try page.position(MitigationID.self)
        let now = context.clock.now()
        let found = try await desk.read(context) { transaction in
            try MitigationStore.list(
                tenant: tenant,
                status: status.map { ($0, at: now) },
                after: position,
                limit: page.fetchCount,
                in: transaction
            )
        }
        return try .json(page.page(found) { [$0.id.description] }.map { MitigationBody($0, at: now) })
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let id = try request.id(MitigationID.self, of: "mitigation")
        let found = try await desk.read(context) { try MitigationStore.find(id, in: $0) }
        guard let found else { throw CatalogFault.notFound(.mitigation, id.description).problem }
        return try .json(MitigationBody(found, at: context.clock.now()))
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let input = try MitigationInput(try request.fields())
        let now = context.clock.now()
        let mitigation = Mitigation(
            id: MitigationID(rawValue: context.ids.next()),
            scope: input.scope,
            reason: input.reason,
            createdAt: now,
            expiresAt: now.adding(seconds: input.seconds)
        )
        return try await desk.writeCatalog(request, context) { transaction in
            _ = try CatalogVersion.bumpBesideHolds(in: transaction)
            let unknowns = try Mitigation.unknowns(of: input.scope, in: transaction)
            guard unknowns.isEmpty else { throw ValidationFailure(unknowns) }
            guard try MitigationStore.countActive(at: now, in: transaction) < Self.mostInForce else {
                throw Problem.tooManyMitigations
            }
            try MitigationStore.insert(mitigation, in: transaction)
            let event = try OutboxEvent(.mitigationStarted, mitigation, id: context.ids.next(), at: now)
            Outbox.enqueue([event], in: transaction)
            let body = MitigationBody(mitigation, at: now)
            let id = mitigation.id.description
            try CatalogDesk.audit("created", .mitigation, id, by: context, after: body, in: transaction)
            return try .created(body, location: "/mitigations/\(id)")
        }
    }

    /// Lifting twice lifts once.
    private func lift(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try request.id(MitigationID.self, of: "mitigation")
        let fields = try request.fields(emptyIsObject: true)
        let reason = fields.optionalString("reason", maximumLength: MitigationInput.longestReasonCharacters)
        try fields.finish()
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            guard let before = try MitigationStore.find(id, in: transaction) else {
                throw CatalogFault.notFound(.mitigation, id.description)
            }
            guard before.status(at: now) != .lifted else { return try .json(MitigationBody(before, at: now)) }
            guard let after = try MitigationStore.lift(id, at: now, reason: reason, in: transaction) else {
                throw Problem.mitigationExpired(before)
            }
            // Where nothing is lifted, no replica has anything to read again.
            _ = try CatalogVersion.bumpBesideHolds(in: transaction)
            let event = try OutboxEvent(.mitigationEnded, after, id: context.ids.next(), at: now)
            Outbox.enqueue([event], in: transaction)
            let body = MitigationBody(after, at: now)
            try CatalogDesk.audit(
                "lifted",
                .mitigation,
                id.description,
                by: context,
                before: MitigationBody(before, at: now),
                after: body,
                in: transaction
            )
            return try .json(body)
        }
    }
}

extension Problem {
    fileprivate static let tooManyMitigations = Problem.conflict(
        code: "too_many_mitigations",
        detail:
            "\(MitigationRoutes.mostInForce) mitigations are in force, as many as may be. Lift some, or make one of a "
            + "wider scope."
    )

    fileprivate static func mitigationExpired(_ mitigation: Mitigation) -> Problem {
        .conflict(
            code: "mitigation_expired",
            detail: "The mitigation ended at \(mitigation.expiresAt) by itself: there is nothing to lift."
        )
    }
}
