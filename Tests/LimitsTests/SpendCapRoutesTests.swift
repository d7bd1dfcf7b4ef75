import TestSupport
import Testing
import Web

/// `GET /tenants/{key}/spend-cap`.
@Suite struct SpendCapRoutesTests {
    @Test("a spend cap shows what is used and held of it in the present month, and none where the plan sets none")
    func status() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addTenant("beta")
            try await server.addFeature("seconds")
            try await server.publish(
                """
                {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
                  {"up_to":"10","unit_amount":"0"},{"up_to":null,"unit_amount":"2"}]}}],
                 "spend_cap":{"amount":"50","mode":"hard"}}
                """
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await server.ingest(SentEvent("a", data: #"{"seconds":15}"#))
            let call = #"{"subject":"acme","type":"job.done","source":"gw","id":"1","data":{"seconds":3}}"#
            try await server.ask("POST", "/admissions", call)
            let own = try await server.client([.quotasRead], tenant: "acme")
            for client in [server.operatorClient, own] {
                let cap = try await server.ask("GET", "/tenants/acme/spend-cap", as: client)
                #expect(
                    cap.text == """
                        {"amount":"50.00","counted_since":"2026-11-23T08:00:00.000000Z","currency":"USD","held":"6.00",\
                        "mode":"hard","overshoot":"10.00","percent":"20","projected":null,"remaining":"34.00",\
                        "timezone":"UTC","used":"10.00","window":{"end":"2026-12-01T00:00:00.000000Z","kind":"month",\
                        "start":"2026-11-01T00:00:00.000000Z"}}
                        """
                )
            }
            // Its months would begin anew.
            let zone = try await server.operatorClient.patch("/api/v1/tenants/acme", #"{"timezone":"Asia/Tokyo"}"#)
            #expect(zone.status == 409 && zone.code == "timezone_in_use")
            server.clock.advance(seconds: 86_400 * 9)
            let next = try await server.ask("GET", "/tenants/acme/spend-cap")
            #expect(next["used"]?.string == "0.00" && next["remaining"]?.string == "50.00")
            let none = try await server.ask("GET", "/tenants/beta/spend-cap", expecting: 404)
            #expect(none["code"]?.string == "spend_cap_not_found")
            let detail = "The tenant 'beta' has no subscription now, or one to a plan that sets no spend cap."
            #expect(none["detail"]?.string == detail)
            #expect(try await own.get("/api/v1/tenants/beta/spend-cap").expecting(404).code == "tenant_not_found")
        }
    }
}
