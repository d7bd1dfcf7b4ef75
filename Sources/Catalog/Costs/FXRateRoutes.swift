import BillingCore
import HTTPTypes
import Postgres
import Web

/// `/fx-rates`: by what rates provider costs become amounts of a plan's currency.
struct FXRateRoutes: Sendable {
    let desk: CatalogDesk

    func register(in operations: Operations) {
        operations.get("/fx-rates", "listFxRates", scope: .catalogRead, handler: desk.operatorOnly(list))
        operations.post("/fx-rates", "createFxRate", scope: .catalogWrite, handler: desk.operatorOnly(create))
        operations.get("/fx-rates/{id}", "getFxRate", scope: .catalogRead, handler: desk.operatorOnly(get))
        operations.delete("/fx-rates/{id}", "deleteFxRate", scope: .catalogWrite, handler: desk.operatorOnly(delete))
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let from = query.value("from", expecting: "an ISO 4217 code in capitals") { Currency($0) }
        let to = query.value("to", expecting: "an ISO 4217 code in capitals") { Currency($0) }
        try query.finish()
        let position = try Self.position(page)
        let records = try await desk.read(context) { transaction in
            try FXRateStore.list(from: from, to: to, after: position, limit: page.fetchCount, in: transaction)
        }
        let listed = page.page(records) { record in
            [record.rate.from.code, record.rate.to.code, String(record.rate.effectiveFrom.microseconds)]
        }
        return try .json(listed.map(FXRateBody.init))
    }

    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        let id = try request.id(FXRateID.self, of: "fx_rate")
        return try .json(FXRateBody(try await desk.read(context) { try Self.existing(id, in: $0) }))
    }

    private func create(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let now = context.clock.now()
        let rate = try Self.read(try request.fields(), id: FXRateID(rawValue: context.ids.next()))
        return try await desk.writeCatalog(request, context) { transaction in
            _ = try CatalogVersion.bumpPrices(in: transaction)
            let record = FXRateRecord(rate: rate, createdAt: now)
            guard try FXRateStore.insert(record, in: transaction) else { throw Problem.rateExists }
            let body = FXRateBody(record)
            try CatalogDesk.audit("created", .fxRate, rate.id.description, by: context, after: body, in: transaction)
            return try .created(body, location: "/fx-rates/\(rate.id)")
        }
    }

    private func delete(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let id = try request.id(FXRateID.self, of: "fx_rate")
        return try await desk.writeCatalog(request, context) { transaction in
            _ = try CatalogVersion.bumpPrices(in: transaction)
            let before = FXRateBody(try Self.existing(id, in: transaction))
            guard try FXRateStore.deleteUnused(id, in: transaction) else { throw Problem.rateInUse }
            try CatalogDesk.audit("deleted", .fxRate, id.description, by: context, before: before, in: transaction)
            return .noContent
        }
    }

    private static func read(_ fields: JSONObjectReader, id: FXRateID) throws -> FXRate {
        let expectation = "an ISO 4217 code in capitals"
        let from = fields.value("from", expecting: expectation) { Currency($0) }
        let to = fields.value("to", expecting: expectation) { Currency($0) }
        let rate = fields.decimal("rate", maximum: PriceInput.maximumUnitAmount, default: nil)
        let effectiveFrom = fields.instant("effective_from")
        if fields.faults.isEmpty, rate <= .zero {
            fields.fault(at: "rate", code: "out_of_range", detail: "\"rate\" must be above zero")
        }
        if let from, from == to {
            fields.fault(at: "to", code: "same_currency", detail: "\"to\" must be another currency than \"from\"")
        }
        try fields.finish()
        guard let from, let to else { throw CatalogFault.unreadable(table: "fx_rate", key: id.description) }
        return FXRate(id: id, from: from, to: to, rate: rate, effectiveFrom: effectiveFrom)
    }

    private static func existing(_ id: FXRateID, in transaction: borrowing Transaction) throws -> FXRateRecord {
        guard let record = try FXRateStore.find(id, in: transaction) else {
            throw CatalogFault.notFound(.fxRate, id.description)
        }
        return record
    }

    private static func position(_ page: PageRequest) throws -> (from: String, to: String, start: Instant)? {
        guard let after = page.after else { return nil }
        guard after.count == 3, let start = Int64(after[2]) else { throw PageRequest.invalidCursor }
        return (after[0], after[1], Instant(microseconds: start))
    }
}

/// What the API shows of a rate.
struct FXRateBody: Encodable, Sendable {
    let id: FXRateID
    let from: String
    let to: String
    let rate: FixedDecimal
    let effectiveFrom: Instant
    let used: Bool
    let createdAt: Instant

    init(_ record: FXRateRecord) {
        id = record.rate.id
        from = record.rate.from.code
        to = record.rate.to.code
        rate = record.rate.rate
        effectiveFrom = record.rate.effectiveFrom
        used = record.usedAt != nil
        createdAt = record.createdAt
    }
}

extension Problem {
    fileprivate static let rateExists = Problem(
        .conflict,
        code: "fx_rate_exists",
        detail: "There is already a rate between these currencies from that very time.",
        errors: [
            FieldFault(pointer: "/effective_from", code: "taken", detail: "A successor needs a later start.")
        ]
    )

    fileprivate static let rateInUse = Problem.conflict(
        code: "fx_rate_in_use",
        detail: "Costs were converted with this rate, so it stays. A new rate has a later effective_from."
    )
}
