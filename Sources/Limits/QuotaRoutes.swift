package import BillingCore
package import Catalog
package import Postgres
package import Web

/// `GET /tenants/{key}/quotas` and `/quotas/{feature}`: what is left of each quota of the tenant's plan.
package struct QuotaRoutes: Sendable {
    let catalog: Catalog
    let pool: PostgresPool
    private let reader: LimitStateReader

    package init(catalog: Catalog, pool: PostgresPool) {
        self.catalog = catalog
        self.pool = pool
        reader = LimitStateReader(pool: pool)
    }

    package func register(in operations: Operations) {
        operations.get(
            "/tenants/{key}/quotas",
            "listQuotas",
            scope: .quotasRead,
            isQuiet: true,
            isBrief: true,
            handler: list
        )
        operations.get("/tenants/{key}/quotas/{feature}", "getQuota", scope: .quotasRead, isQuiet: true, handler: get)
    }

    @Sendable
    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        try query.finish()
        if let after = page.after, after.count != 2 { throw PageRequest.invalidCursor }
        let tenant = try await tenant(request, context)
        let quotas = try await quotas(of: tenant, at: context.clock.now())
            .sorted { ($0.feature, $0.window.kind) < ($1.feature, $1.window.kind) }
        let rest = quotas.filter { (page.after ?? []).lexicographicallyPrecedes($0.position) }
        let answered = page.page(Array(rest.prefix(page.fetchCount)), position: \.position)
        return Answer.json { writer in
            writer.object { writer in
                writer.array("data", answered.data) { writer, quota in quota.write(to: &writer) }
                writer.member("next_cursor", answered.nextCursor)
            }
        }
    }

    /// A feature may have quotas over several windows; without `window` the one with the least remaining is answered.
    @Sendable
    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let window = query.oneOf("window", WindowKind.self)
        try query.finish()
        let feature = try request.parameter("feature")
        let tenant = try await tenant(request, context)
        let quotas = try await quotas(of: tenant, at: context.clock.now()).filter { quota in
            quota.feature == feature && (window.map { $0.rawValue == quota.window.kind } ?? true)
        }
        guard let tightest = quotas.min(by: { $0.remaining < $1.remaining }) else {
            throw Problem.notFound("quota", feature + (window.map { " (\($0.rawValue))" } ?? ""))
        }
        let overrides = try await pool.query(
            .interactive,
            as: .tenant(tenant.id.rawValue),
            QuotaOverrideStore.overrides(of: tenant.id),
            QuotaOverrideStore.decode
        )
        let own = overrides.first { $0.featureKey == tightest.feature && $0.window.rawValue == tightest.window.kind }
        return try Answer.json(SingleQuotaBody(tightest, own: own), revision: own?.revision ?? 0)
    }

    private func tenant(_ request: APIRequest, _ context: RequestContext) async throws -> TenantSnapshot {
        try await catalog.tenant(request.parameter("key"), for: context)
    }

    /// The quotas in force, each with its current window.
    private func quotas(of tenant: TenantSnapshot, at now: Instant) async throws -> [QuotaBody] {
        let shared = catalog.current
        let windows = CalendarWindows(zone: tenant.zone)
        let subscription = tenant.subscription(covering: now)
        let period = subscription?.period(containing: now)?.interval
        let current = tenant.limits.filter(\.isActive).compactMap { limit -> (UsageLimit, Feature, Interval)? in
            let window = limit.window == .billingPeriod ? period : windows.window(limit.window, containing: now)
            guard let window, let feature = shared.features[limit.featureID] else { return nil }
            return (limit, feature, window)
        }
        let rows = current.map { limit, _, window in
            LimitRow(tenant: tenant.id, limit: limit.id, windowStart: window.start)
        }
        let states = try await reader.states(of: rows, for: tenant.id)
        return zip(current, rows).map { current, row in
            // A billing period keeps the zone that the tenant had when its subscription started.
            let zone = (current.0.window == .billingPeriod ? subscription?.periods.zone : nil) ?? tenant.zone
            return QuotaBody(current.0, of: current.1, in: current.2, of: zone, balance: states[row]?.balance)
        }
    }
}

/// The window of a limit as it is answered.
package struct LimitWindowBody: Encodable, Sendable {
    package let kind: String
    /// Nil for `lifetime`.
    package let start: Instant?
    package let end: Instant?

    package init(_ kind: WindowKind, _ interval: Interval) {
        self.kind = kind.rawValue
        start = kind == .lifetime ? nil : interval.start
        end = kind == .lifetime ? nil : interval.end
    }

    /// Its members, as `Encodable` does it.
    package func write(to writer: inout JSONWriter) {
        writer.member("end", end)
        writer.member("kind", kind)
        writer.member("start", start)
    }
}

/// A quota as it is answered.
struct QuotaBody: Encodable, Sendable {
    let feature: String
    let featureName: String
    let unit: String
    let limit: FixedDecimal
    let used: FixedDecimal
    let held: FixedDecimal
    let overshoot: FixedDecimal
    let remaining: FixedDecimal
    let mode: String
    let overage: String
    let window: LimitWindowBody
    /// The zone of the window's days.
    let timezone: String

    var position: [String] { [feature, window.kind] }

    init(_ limit: UsageLimit, of feature: Feature, in window: Interval, of zone: Zone, balance: LimitBalance?) {
        var balance = balance ?? LimitBalance(amount: limit.amount)
        balance.amount = limit.amount
        self.feature = feature.key
        featureName = feature.name
        unit = feature.unit
        self.limit = limit.amount
        used = balance.used
        held = balance.held
        overshoot = balance.overshoot
        remaining = balance.remaining
        mode = limit.mode.rawValue
        overage = limit.overage.rawValue
        self.window = LimitWindowBody(limit.window, window)
        timezone = zone.identifier
    }

    /// As `Encodable` does it.
    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("feature", feature)
            writer.member("feature_name", featureName)
            writer.member("held", held)
            writer.member("limit", limit)
            writer.member("mode", mode)
            writer.member("overage", overage)
            writer.member("overshoot", overshoot)
            writer.member("remaining", remaining)
            writer.member("timezone", timezone)
            writer.member("unit", unit)
            writer.member("used", used)
            writer.object("window") { window.write(to: &$0) }
        }
    }
}

/// A quota as it is answered alone: with the tenant's own that stands in place of the plan's.
struct SingleQuotaBody: Encodable, Sendable {
    let quota: QuotaBody
    let override: QuotaOverrideBody?

    init(_ quota: QuotaBody, own: QuotaOverride?) {
        self.quota = quota
        override = own.flatMap { $0.isActive ? QuotaOverrideBody($0) : nil }
    }

    private enum CodingKeys: String, CodingKey {
        case override
    }

    func encode(to encoder: any Encoder) throws {
        try quota.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(override, forKey: .override)
    }
}
