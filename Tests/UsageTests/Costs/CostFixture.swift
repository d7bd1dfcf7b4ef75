import Catalog
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Usage

/// The arrangement of tests about provider costs: tenants with a plan that passes costs on, and calls of models.
extension TestServer {
    /// Tokens by class, a feature over all of them and one over the output alone; a plan that charges the cost of each.
    func arrangeCosts(currency: String = "USD") async throws {
        try await addTenant("acme", currency: currency)
        try await ask("POST", "/meters", Self.tokenMeter, expecting: 201)
        try await ask("POST", "/features", #"{"key":"tokens","meter":"tokens","unit":"token"}"#, expecting: 201)
        let output = """
            {"key":"output","meter":"tokens","unit":"token","filters":[{"dimension":"token_class","in":["output"]}]}
            """
        try await ask("POST", "/features", output, expecting: 201)
        let version = """
            {"charges":[{"feature":"tokens","price":{"model":"cost_plus","markup_percent":"20"}},
                        {"feature":"output","price":{"model":"cost_plus","markup_percent":"0"}}]}
            """
        try await publish(version, currency: currency)
        try await subscribe(at: "2026-11-01T00:00:00Z")
    }

    private static let tokenMeter = """
        {"key":"tokens","event_type":"chat","aggregation":"sum","class_dimension":"token_class",
         "value":{"uncached_input":"uncached_input_tokens","cached_input":"cached_input_tokens",
                  "cache_write":"cache_write_tokens","output":"output_tokens"}}
        """

    func rate(_ rate: String, to currency: String, from start: String = "2026-01-01T00:00:00Z") async throws {
        let body = #"{"from":"USD","to":"\#(currency)","rate":"\#(rate)","effective_from":"\#(start)"}"#
        try await ask("POST", "/fx-rates", body, expecting: 201)
    }

    /// The provider cost of each of a tenant's events, by its id; `-` where it is not known.
    func providerCosts(_ tenant: String = "acme") async throws -> [String: String] {
        let events = try await ask("GET", "/events?tenant=\(tenant)&limit=500")["data"]?.elements ?? []
        let costs = events.compactMap { event in
            event["id"]?.string.map { ($0, event["provider_cost"]?.string ?? "-") }
        }
        return Dictionary(costs) { first, _ in first }
    }

    /// What is unpriced: reason, model and number of events.
    func unpriced(_ query: String = "") async throws -> [String] {
        let models = try await ask("GET", "/unpriced-usage\(query)")["data"]?.elements ?? []
        return models.map { model in
            let parts = ["reason", "model"].map { model[$0]?.string ?? "?" }
            return "\(parts[0]) \(parts[1]) \(model["events"]?.number ?? "?")"
        }
    }

    /// The cost and the charge of a feature's counter in the first period.
    func counted(_ feature: String) async throws -> String? {
        try await column(
            """
            SELECT trim_scale(cost)::text || ' ' || trim_scale(charge)::text FROM usage_counter
            JOIN feature USING (feature_id) WHERE key = \(feature) AND cell = ''
            """
        ).first ?? nil
    }

    /// Rates what is unpriced now, without waiting for the service's own worker.
    @discardableResult
    func rateUnpriced() async throws -> Int {
        try await withPool { pool in
            let catalog = Catalog(pool: pool, clock: clock.clock)
            try await catalog.reload()
            let worker = CostWorker(
                catalog: catalog,
                pool: pool,
                policy: CostPolicy(trustedSources: configuration.trustedCostSources),
                clock: clock.clock,
                ids: .random(clock.clock),
                logger: .silent
            )
            return try await worker.rateUnpriced()
        }
    }
}

extension SentEvent {
    /// A call of a model.
    static func call(
        _ id: String,
        model: String = "gpt-4o",
        input: Int = 0,
        cached: Int = 0,
        output: Int = 0,
        time: String? = nil,
        subject: String = "acme",
        source: String = "gw",
        more: String = ""
    ) -> SentEvent {
        SentEvent(
            id,
            source: source,
            type: "chat",
            subject: subject,
            time: time,
            data: """
                {"provider":"openai","model":"\(model)","input_tokens":\(input),"cached_input_tokens":\(cached),
                 "output_tokens":\(output)\(more)}
                """
        )
    }
}

extension IngestFixture {
    /// How many connections ingest has taken so far: one for each transaction.
    var ingestLeases: UInt64 { service.preparation.pool.statistics(of: .ingest).leases }
}
