import BillingCore
package import Catalog
package import Postgres
package import Web

/// `GET /unpriced-usage`: which models are used without a known cost. Operators only.
package struct UnpricedUsageRoutes: Sendable {
    let catalog: Catalog
    let pool: PostgresPool

    package init(catalog: Catalog, pool: PostgresPool) {
        self.catalog = catalog
        self.pool = pool
    }

    package func register(in operations: Operations) {
        operations.get("/unpriced-usage", "listUnpricedUsage", scope: .catalogRead, handler: list)
    }

    @Sendable
    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        guard context.principal.isOperatorWide else { throw CatalogFault.operatorOnly.problem }
        let query = request.query()
        let tenant = query.string("tenant")
        var filter = UnpricedUsageStore.Filter()
        filter.reason = query.oneOf("reason", UnpricedReason.self)
        filter.provider = query.string("provider")
        filter.model = query.string("model")
        let page = query.page()
        try query.finish()
        filter.tenant = try await catalog.tenantFilter(tenant, for: context)?.id
        let position = try Self.position(page)
        let summaries = try await pool.query(
            .interactive,
            UnpricedUsageStore.summaries(filter, after: position, limit: page.fetchCount),
            UnpricedUsageStore.decodeSummary
        )
        let listed = page.page(summaries) { [$0.provider, $0.model, $0.reason.rawValue] }
        return try .json(listed.map(UnpricedUsageBody.init))
    }

    private static func position(_ page: PageRequest) throws -> (String, String, String)? {
        guard let after = page.after else { return nil }
        guard after.count == 3 else { throw PageRequest.invalidCursor }
        return (after[0], after[1], after[2])
    }
}

/// Unpriced usage of one model, as it is answered.
struct UnpricedUsageBody: Encodable, Sendable {
    let reason: String
    let provider: String?
    let model: String?
    let events: Int64
    let inputTokens: FixedDecimal
    let outputTokens: FixedDecimal
    let tenants: Int64
    /// The first and the last day (UTC) on which there was some.
    let since: Instant
    let lastDay: Instant

    init(_ summary: UnpricedUsageStore.Summary) {
        reason = summary.reason.rawValue
        provider = summary.provider.isEmpty ? nil : summary.provider
        model = summary.model.isEmpty ? nil : summary.model
        events = summary.events
        inputTokens = summary.inputTokens
        outputTokens = summary.outputTokens
        tenants = summary.tenants
        since = summary.since
        lastDay = summary.until
    }
}
