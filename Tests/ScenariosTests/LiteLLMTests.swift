import TestSupport
import Testing

/// From a real gateway's event to remaining quota and an upcoming invoice: the story of `docs/integrations.md`.
@Suite(.enabled(if: TestTools.isCI || TestTools.installed("litellm") != nil, "litellm is not installed"))
struct LiteLLMTests {
    @Test(
        "usage that a LiteLLM proxy reports takes from the quota and is on the invoice, to the cent",
        .timeLimit(.minutes(15))
    )
    func reportedUsageIsRated() async throws {
        try await TurnpikeProcess.run { turnpike in
            let client = turnpike.operatorClient
            try await Self.makeCatalogue(client)
            // A key that may report usage and nothing else, as a gateway should have.
            let gatewayKey = try await turnpike.makeKey(scopes: ["events:write"])

            try await LiteLLMProxy.run(reportingTo: turnpike.baseURL, key: gatewayKey) { proxy in
                for _ in 1...7 { try await proxy.complete(user: "acme-prod") }
                for _ in 1...3 { try await proxy.complete(user: "globex") }
                try await proxy.complete(user: nil)

                try await Self.expectQuota(client, tenant: "acme", used: "3500", remaining: "6500")
                try await Self.expectQuota(client, tenant: "globex", used: "1500", remaining: "8500")
                try await Self.expectUnmatched(client, subjects: ["default_user_id"])
            }

            // 7,000 input at 0.0000333 = 0.2331. 3,500 output: 1,000 free, 2,000 at 0.01 and 1.00 on entry,
            // 500 at 0.005.
            try await Self.expectInvoice(
                client,
                tenant: "acme",
                fee: "20.00",
                input: Line(quantity: "7000", amount: "0.23", unrounded: "0.233100000000"),
                output: Line(quantity: "3500", amount: "23.50", unrounded: "23.500000000000"),
                total: "43.73"
            )
            // 3,000 input at 0.0000333 = 0.0999; 1,500 output: 1,000 free, 500 at 0.01 and 1.00 on entry.
            try await Self.expectInvoice(
                client,
                tenant: "globex",
                fee: "20.00",
                input: Line(quantity: "3000", amount: "0.10", unrounded: "0.099900000000"),
                output: Line(quantity: "1500", amount: "6.00", unrounded: "6.000000000000"),
                total: "26.10"
            )
        }
    }

    private struct Line: Equatable {
        let quantity: String
        let amount: String
        let unrounded: String
    }

    private static func makeCatalogue(_ client: TestClient) async throws {
        let requests = [
            ("/api/v1/tenants", #"{"key": "acme", "name": "Acme", "currency": "USD", "subjects": ["acme-prod"]}"#),
            ("/api/v1/tenants", #"{"key": "globex", "name": "Globex", "currency": "USD", "timezone": "Asia/Tokyo"}"#),
            (
                "/api/v1/meters",
                """
                {"key": "litellm-tokens", "event_type": "litellm_tokens", "aggregation": "sum",
                 "value": {"uncached_input": "uncached_input_tokens", "cached_input": "cached_input_tokens",
                           "cache_write": "cache_write_tokens", "output": "output_tokens"},
                 "class_dimension": "token_class", "dimensions": {"model": "model"}}
                """
            ),
            (
                "/api/v1/features",
                """
                {"key": "input-tokens", "name": "Input tokens", "meter": "litellm-tokens", "unit": "token",
                 "filters": [{"dimension": "token_class", "in": ["uncached_input", "cached_input", "cache_write"]}]}
                """
            ),
            (
                "/api/v1/features",
                """
                {"key": "output-tokens", "name": "Output tokens", "meter": "litellm-tokens", "unit": "token",
                 "filters": [{"dimension": "token_class", "in": ["output"]}]}
                """
            ),
            ("/api/v1/plans", #"{"key": "gateway", "name": "Gateway", "currency": "USD"}"#),
            (
                "/api/v1/plans/gateway/versions",
                """
                {"interval": "month",
                 "fees": [{"key": "platform", "name": "Platform fee", "amount": "20.00", "charged": "in_advance"}],
                 "charges": [
                   {"feature": "input-tokens", "price": {"model": "per_unit", "unit_amount": "0.0000333"}},
                   {"feature": "output-tokens", "price": {"model": "graduated", "tiers": [
                     {"up_to": "1000", "unit_amount": "0"},
                     {"up_to": "3000", "unit_amount": "0.01", "flat_amount": "1.00"},
                     {"up_to": null, "unit_amount": "0.005"}]}}],
                 "quotas": [{"feature": "output-tokens", "limit": "10000", "window": "billing_period",
                             "mode": "hard", "overage": "denied"}]}
                """
            ),
        ]
        for (path, body) in requests { try await client.post(path, body).expecting(201) }
        try await client.post("/api/v1/plans/gateway/versions/1/publish").expecting(200)
        for tenant in ["acme", "globex"] {
            let request = #"{"tenant": "\#(tenant)", "plan": "gateway", "version": 1}"#
            try await client.post("/api/v1/subscriptions", request).expecting(201)
        }
    }

    /// The proxy reports after it has answered, so this waits for the numbers, and then holds them to be exact.
    private static func expectQuota(_ client: TestClient, tenant: String, used: String, remaining: String) async throws
    {
        struct Quotas: Decodable {
            struct Quota: Decodable, Equatable {
                let feature: String
                let unit: String
                let limit: String
                let used: String
                let held: String
                let remaining: String
                let mode: String
                let overage: String
            }
            let data: [Quota]
        }
        let expected = Quotas.Quota(
            feature: "output-tokens",
            unit: "token",
            limit: "10000",
            used: used,
            held: "0",
            remaining: remaining,
            mode: "hard",
            overage: "denied"
        )
        var seen: [Quotas.Quota] = []
        let isReached = try await eventually(within: .seconds(60)) {
            seen = try await client.get("/api/v1/tenants/\(tenant)/quotas").decoded(Quotas.self).data
            return seen == [expected]
        }
        #expect(isReached, "\(seen)")
    }

    private static func expectUnmatched(_ client: TestClient, subjects: [String]) async throws {
        struct Unmatched: Decodable {
            struct Event: Decodable { let subject: String }
            let data: [Event]
        }
        var seen: [String] = []
        let isReached = try await eventually(within: .seconds(60)) {
            seen = try await client.get("/api/v1/unmatched-events").decoded(Unmatched.self).data.map(\.subject)
            return seen == subjects
        }
        #expect(isReached, "\(seen)")
    }

    private static func expectInvoice(
        _ client: TestClient,
        tenant: String,
        fee: String,
        input: Line,
        output: Line,
        total: String
    ) async throws {
        struct Invoice: Decodable {
            struct InvoiceLine: Decodable {
                let kind: String
                let feature: String?
                let quantity: String?
                let amount: String
                let amountUnrounded: String
            }
            let status: String
            let currency: String
            let lines: [InvoiceLine]
            let total: String
        }
        let invoice = try await client.get("/api/v1/tenants/\(tenant)/upcoming-invoice").decoded(Invoice.self)
        let usage = invoice.lines.filter { $0.kind == "usage" }.map { line in
            [
                line.feature ?? "": Line(
                    quantity: line.quantity ?? "",
                    amount: line.amount,
                    unrounded: line.amountUnrounded
                )
            ]
        }
        #expect(invoice.status == "draft")
        #expect(invoice.currency == "USD")
        #expect(invoice.lines.filter { $0.kind == "fee" }.map(\.amount) == [fee])
        #expect(usage.count == 2)
        #expect(usage.contains(["input-tokens": input]))
        #expect(usage.contains(["output-tokens": output]))
        #expect(invoice.total == total)
    }
}
