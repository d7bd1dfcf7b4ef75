import BillingCore
import TestSupport
import Testing
import Web

/// What calls that were settled in part come to hold in windows that began since.
@Suite struct PartlySettledHoldTests {
    private static let tokens = #","provider":"openai","model":"m","input_tokens":20"#

    /// Seconds cost 1 each, and tokens what the provider charges, 1 each; under a hard spend cap of 300. A call of 10
    /// seconds and 20 tokens is admitted an hour before the billing period's end, and can end in the next.
    private static func arrange(_ server: TestServer) async throws -> JSONValue {
        try await server.addTenant("acme")
        try await server.addFeature("seconds")
        try await server.addFeature("tokens", of: "input_tokens")
        try await server.publish(
            """
            {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"1"}},
              {"feature":"tokens","price":{"model":"cost_plus","markup_percent":"0"}}],
             "spend_cap":{"amount":"300","mode":"hard"}}
            """
        )
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
        try await server.price("input", "1", model: "m", from: "2026-01-01T00:00:00Z")
        let call = try await server.admit("1", seconds: "10", more: #","ttl_seconds":7200"#, data: tokens)
        try await server.expectRows(["0 30 0", "0 30 0"])
        return call
    }

    @Test("a cost that was settled in a later billing period is not held there again by the same price")
    func laterPeriod() async throws {
        try await TestServer.run(clock: TestClock("2026-11-30T23:00:00Z")) { server in
            let call = try await Self.arrange(server)
            server.clock.set(try Instant(parsing: "2026-12-01T00:10:00Z"))
            try await server.settle(call, event: "a", seconds: "2", data: Self.tokens, partial: true)
            try await server.expectRows(["0 30 0", "22 8 0"])
            // Any change has all open calls looked at.
            try await server.price("input", "1", model: "other", from: "2026-01-01T00:00:00Z")
            try await server.holdsFollow()
            try await server.expectRows(["0 30 0", "22 8 0"])
            // A dearer price is held, of as much of the call as nothing of November has settled.
            try await server.price("input", "4", model: "m", from: "2026-12-01T00:30:00Z")
            try await server.holdsFollow()
            try await server.expectRows(["0 30 0", "22 88 0"])
            #expect(try await server.brokenLimits() == [])
            #expect(try await server.unbalancedHolds() == [])
            #expect(try await server.differences() == [])
        }
    }
}
