import BillingCore
import HTTPTypes
import TestSupport
import Testing

@testable import Web

/// How fast tenants may change what is kept of them.
@Suite struct ChangePaceTests {
    /// Twenty-six changes: twenty at once, and six at four a second.
    private static func takesItsTime(
        _ scopes: [Scope],
        _ changes: @escaping @Sendable (TestServer, _ tenant: TestClient) async throws -> Void
    ) async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let tenant = try await server.client(scopes, tenant: "acme")
            let began = ContinuousClock.now
            try await changes(server, tenant)
            #expect(began.duration(to: .now) >= .milliseconds(1_500))
        }
    }

    @Test("changes of a tenant that come fast wait for their time")
    func waiting() async throws {
        try await Self.takesItsTime([.budgetsRead, .budgetsWrite]) { server, tenant in
            let budget = #"{"key":"own","scope":{},"measure":"requests","amount":"100","window":"day"}"#
            try await server.ask("POST", "/budgets", budget, expecting: 201, as: tenant)
            for amount in 1...25 {
                try await server.ask("PATCH", "/budgets/own", #"{"amount":"\#(amount)"}"#, as: tenant)
            }
        }
    }

    @Test("changes of subscriptions go at the pace of those of budgets")
    func subscriptions() async throws {
        try await Self.takesItsTime([.budgetsWrite, .subscriptionsWrite]) { server, tenant in
            let subscription = #"{"tenant":"acme","plan":"none","version":1}"#
            for number in 1...13 {
                let budget = #"{"key":"b\#(number)","scope":{},"measure":"requests","amount":"9","window":"day"}"#
                try await server.ask("POST", "/budgets", budget, expecting: 201, as: tenant)
                try await server.ask("POST", "/subscriptions", subscription, expecting: 400, as: tenant)
            }
        }
    }

    @Test("what is only tried of subscribing and changing goes at the pace of what is done")
    func dryRuns() async throws {
        try await Self.takesItsTime([.subscriptionsWrite]) { server, tenant in
            let subscription = #"{"tenant":"acme","plan":"none","version":1,"dry_run":true}"#
            let change = "/subscriptions/01900000-0000-7000-8000-000000000000/change"
            for _ in 1...13 {
                try await server.ask("POST", "/subscriptions", subscription, expecting: 400, as: tenant)
                try await server.ask("POST", change, #"{"plan":"none","dry_run":true}"#, expecting: 404, as: tenant)
            }
        }
    }

    @Test("what a tenant has sent for a test, and again, goes at a pace")
    func deliveries() async throws {
        try await Self.takesItsTime([.webhooksRead, .webhooksWrite]) { server, tenant in
            let endpoint = #"{"key":"own","url":"https://8.8.8.8/","events":["*"]}"#
            try await server.ask("POST", "/webhook-endpoints", endpoint, expecting: 201, as: tenant)
            for _ in 1...13 {
                let delivery = try await server.ask("POST", "/webhook-endpoints/own/test", expecting: 202, as: tenant)
                let path = "/deliveries/\(delivery["id"]?.string ?? "")/retry"
                try await server.ask("POST", path, expecting: 202, as: tenant)
            }
        }
    }

    @Test("a change that would wait for long is refused, and no other tenant's")
    func refusal() async throws {
        let pace = ChangePace()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<60 {
                group.addTask { try await pace.turn(of: TenantID(1)) }
            }
            let problem = await #expect(throws: Problem.self) {
                for try await _ in group {}
            }
            #expect(problem?.status == .tooManyRequests && problem?.code == "changes_too_fast")
            #expect(problem?.headers[.retryAfter] == "1")
            #expect(problem?.headers[.rateLimit] == #""changes";r=0;t=1"#)
            #expect(problem?.headers[.rateLimitPolicy] == #""changes";q=20;w=5"#)
            try await pace.turn(of: TenantID(2))
            group.cancelAll()
        }
    }
}
