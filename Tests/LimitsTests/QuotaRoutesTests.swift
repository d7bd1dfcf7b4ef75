import TestSupport
import Testing
import Web

/// `GET /tenants/{key}/quotas` and `/quotas/{feature}`.
@Suite struct QuotaRoutesTests {
    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme", zone: "Europe/Berlin")
        try await server.addTenant("beta")
        try await server.addFeature("jobs", "count", of: nil)
        try await server.addFeature("seconds")
        try await server.publish(
            """
            {"quotas":[
              {"feature":"jobs","limit":"10","window":"billing_period","mode":"hard"},
              {"feature":"jobs","limit":"3","window":"day","mode":"soft"},
              {"feature":"seconds","limit":"2.5","window":"lifetime","mode":"hard","overage":"allowed"}]}
            """
        )
        try await server.subscribe(at: "2026-11-10T12:00:00Z")
    }

    @Test func aQuotaHasTheShapeOfTheContract() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(SentEvent("1", data: #"{"seconds":1.5}"#))
            try await server.ask("PATCH", "/features/jobs", #"{"name":"Jobs done"}"#)
            let quotas = try await server.ask("GET", "/tenants/acme/quotas")
            #expect(
                quotas.text == """
                    {"data":[\
                    {"feature":"jobs","feature_name":"Jobs done","held":"0","limit":"10","mode":"hard",\
                    "overage":"denied","overshoot":"1","remaining":"9","timezone":"Europe/Berlin","unit":"unit",\
                    "used":"1",\
                    "window":{"end":"2026-12-10T12:00:00.000000Z","kind":"billing_period",\
                    "start":"2026-11-10T12:00:00.000000Z"}},\
                    {"feature":"jobs","feature_name":"Jobs done","held":"0","limit":"3","mode":"soft",\
                    "overage":"allowed","overshoot":"1","remaining":"2","timezone":"Europe/Berlin","unit":"unit",\
                    "used":"1",\
                    "window":{"end":"2026-11-23T23:00:00.000000Z","kind":"day","start":"2026-11-22T23:00:00.000000Z"}},\
                    {"feature":"seconds","feature_name":"seconds","held":"0","limit":"2.5","mode":"hard",\
                    "overage":"allowed","overshoot":"1.5","remaining":"1","timezone":"Europe/Berlin","unit":"unit",\
                    "used":"1.5","window":{"end":null,"kind":"lifetime","start":null}}],\
                    "next_cursor":null}
                    """
            )
        }
    }

    @Test func aBillingPeriodKeepsTheZoneInWhichTheSubscriptionStarted() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme", zone: "Europe/Berlin")
            try await server.addFeature("seconds")
            try await server.publish("{}")
            try await server.subscribe(at: "2026-11-01T00:00:00+01:00")
            try await server.ask("PATCH", "/tenants/acme", #"{"timezone":"Asia/Tokyo"}"#)
            try await server.ask("PUT", "/tenants/acme/quotas/seconds?window=billing_period", #"{"limit":"2"}"#)
            let quota = try await server.ask("GET", "/tenants/acme/quotas/seconds")
            #expect(quota["window"]?["end"]?.string == "2026-11-30T23:00:00.000000Z")
            #expect(quota["timezone"]?.string == "Europe/Berlin")
        }
    }

    @Test func useBeyondTheLimitLeavesNothing() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(SentEvent("1", data: #"{"seconds":4}"#))
            let quota = try await server.ask("GET", "/tenants/acme/quotas/seconds")
            #expect(quota["used"]?.string == "4")
            #expect(quota["remaining"]?.string == "0")
        }
    }

    @Test func withoutAWindowTheTightestIsAnswered() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let path = "/tenants/acme/quotas/jobs"
            #expect(try await server.ask("GET", path)["window"]?["kind"]?.string == "day")
            let period = try await server.ask("GET", "\(path)?window=billing_period")
            #expect(period["limit"]?.string == "10")
            let none = try await server.operatorClient.get("/api/v1\(path)?window=hour")
            #expect(none.status == 404)
            let unknown = try await server.operatorClient.get("/api/v1\(path)?window=fortnight")
            #expect(unknown.status == 400)
            #expect(unknown.pointers == ["?window"])
        }
    }

    @Test func pagesTileTheList() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let whole = try await server.ask("GET", "/tenants/acme/quotas")["data"]?.elements ?? []
            var paged: [JSONValue] = []
            var path = "/tenants/acme/quotas?limit=1"
            for _ in 0..<3 {
                let page = try await server.ask("GET", path)
                paged += page["data"]?.elements ?? []
                path = "/tenants/acme/quotas?limit=1&cursor=\(page["next_cursor"]?.string ?? "")"
            }
            #expect(whole.count == 3)
            #expect(paged == whole)
            let other = try await server.operatorClient.get("/api/v1/tenants/beta/quotas?cursor=nonsense")
            #expect(other.pointers == ["?cursor"])
        }
    }

    @Test func anotherTenantIsLikeAnAbsentOne() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let bound = try await server.client([.quotasRead, .invoicesRead], tenant: "beta")
            for path in ["quotas", "quotas/jobs", "upcoming-invoice"] {
                let others = try await bound.get("/api/v1/tenants/acme/\(path)")
                let absent = try await bound.get("/api/v1/tenants/none/\(path)")
                #expect(others.status == 404)
                #expect(others.code == "tenant_not_found")
                #expect(
                    others.text.replacing("acme", with: "none").replacing(others.requestID, with: absent.requestID)
                        == absent.text
                )
            }
            let own = try await bound.get("/api/v1/tenants/beta/quotas")
            #expect(own.text == #"{"data":[],"next_cursor":null}"#)
        }
    }

    @Test func quotasEndWithTheSubscription() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(SentEvent("1"))
            let id = try await server.ask("GET", "/subscriptions")["data"]?[0]?["id"]?.string ?? ""
            try await server.ask("POST", "/subscriptions/\(id)/cancel")
            server.clock.advance(seconds: 1)
            #expect(try await eventually { try await server.ask("GET", "/tenants/acme/quotas")["data"] == .array([]) })
            #expect(try await server.differences() == [])
        }
    }
}

extension TestResponse {
    fileprivate var requestID: String { header("X-Request-Id") ?? "-" }
}
