import BillingCore
import HTTPTypes
import Postgres
import Web

/// `/price-book`: what providers charge. Operators only: a tenant never sees what its usage costs.
struct PriceBookRoutes: Sendable {
    let desk: CatalogDesk
    let costCurrency: Currency

    func register(in operations: Operations) {
        operations.get("/price-book", "listPriceBook", scope: .catalogRead, handler: desk.operatorOnly(list))
        operations.post("/price-book", "createPrice", scope: .catalogWrite, handler: desk.operatorOnly(create))
        operations.get("/price-book/{id}", "getPrice", scope: .catalogRead, handler: desk.operatorOnly(get))
        operations.delete("/price-book/{id}", "deletePrice", scope: .catalogWrite, handler: desk.operatorOnly(delete))
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        var filter = PriceBookStore.Filter()
        filter.provider = query.string("provider")
        filter.model = query.string("model")
        let tokenClass = query.value("token_class", expecting: "a class of tokens") {
            CostComponent.tokenClass(named: $0)
        }
        let unit = query.value("unit", expecting: "a unit") { CostComponent.unit(named: $0) }
        if tokenClass != nil, unit != nil {
            query.fault("unit", code: "ambiguous", detail: "Ask for a class of tokens or for a unit, not for both.")
        }
        filter.component = tokenClass ?? unit
        filter.effectiveAt = query.instant("effective_at")
        try query.finish()
        let position = try Self.position(page)
        let wanted = filter
        let records = try await desk.read(context) { transaction in
            try PriceBookStore.list(wanted, after: position, limit: page.fetchCount, in: transaction)
        }
        return try .json(page.page(records, position: Self.position).map(PriceBody.init))
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let id = try request.id(PriceID.self, of: "price")
        return try .json(PriceBody(try await desk.read(context) { try Self.existing(id, in: $0) }))
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let input = try PriceInput.read(try request.fields(), costCurrency: costCurrency)
        let id = PriceID(rawValue: context.ids.next())
        let now = context.clock.now()
        return try await desk.writeCatalog(request, context) { transaction in
            let price = ProviderPrice(
                id: id,
                rate: input.rate,
                unitAmount: input.unitAmount,
                currency: input.currency,
                effectiveFrom: input.effectiveFrom,
                createdVersion: try CatalogVersion.bumpPrices(in: transaction)
            )
            let record = PriceRecord(price: price, source: .api, createdAt: now)
            guard try !PriceBookStore.insert([record], in: transaction).isEmpty else { throw Problem.priceExists }
            let body = PriceBody(record)
            try CatalogDesk.audit("created", .price, id.description, by: context, after: body, in: transaction)
            return try .created(body, location: "/price-book/\(id)")
        }
    }

    private func delete(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try request.id(PriceID.self, of: "price")
        return try await desk.writeCatalog(request, context) { transaction in
            _ = try CatalogVersion.bumpPrices(in: transaction)
            let record = try Self.existing(id, in: transaction)
            guard try Self.deleteUnused(id, in: transaction) else { throw Problem.priceInUse }
            try CatalogDesk.audit(
                "deleted",
                .price,
                id.description,
                by: context,
                before: PriceBody(record),
                in: transaction
            )
            return .noContent
        }
    }

    /// False too when a cost is computed with it at this very moment.
    private static func deleteUnused(_ id: PriceID, in transaction: borrowing Transaction) throws -> Bool {
        do {
            return try PriceBookStore.deleteUnused(id, in: transaction)
        } catch let error where error.constraint == PriceSetStore.entryPriceConstraint {
            throw Problem.priceInUse
        }
    }

    private static func existing(_ id: PriceID, in transaction: borrowing Transaction) throws -> PriceRecord {
        guard let record = try PriceBookStore.find(id, in: transaction) else {
            throw CatalogFault.notFound(.price, id.description)
        }
        return record
    }

    private static func position(_ record: PriceRecord) -> [String] {
        let rate = record.price.rate
        return [
            rate.provider, rate.model.text, rate.component.name, String(rate.aboveInputTokens),
            String(record.price.effectiveFrom.microseconds),
        ]
    }

    private static func position(_ page: PageRequest) throws -> PriceBookStore.Position? {
        guard let after = page.after else { return nil }
        guard after.count == 5, let model = ModelPattern(after[1]), let component = CostComponent(name: after[2]),
            let threshold = Int64(after[3]), let start = Int64(after[4])
        else { throw PageRequest.invalidCursor }
        return PriceBookStore.Position(
            rate: .init(provider: after[0], model: model, component: component, aboveInputTokens: threshold),
            effectiveFrom: Instant(microseconds: start)
        )
    }
}

extension Problem {
    fileprivate static let priceExists = Problem(
        .conflict,
        code: "price_exists",
        detail: "There is already a price of the same provider, model, unit and threshold from that very time.",
        errors: [
            FieldFault(pointer: "/effective_from", code: "taken", detail: "A successor needs a later start.")
        ]
    )

    fileprivate static let priceInUse = Problem.conflict(
        code: "price_in_use",
        detail: "Costs were computed with this price, so it stays. A new price has a later effective_from."
    )
}
