import Postgres
import TestSupport
import Testing
import Web

@testable import Webhooks

/// Who is told of whose events.
@Suite(.timeLimit(.minutes(15)))
struct EventScopeTests {
    @Test("the operator's endpoints are told of all tenants, a tenant's of its own, and never what providers bill")
    func eventsStayWithTheirTenant() async throws {
        let receivers = try (0..<3).map { _ in try WebhookReceiver() }
        defer { receivers.forEach { $0.stop() } }
        try await HookStory.run { server in
            try await server.makeEndpoint("hook", receivers[0].url)
            try await server.makeEndpoint("hook", receivers[1].url, #", "tenant": "acme""#)
            try await server.makeEndpoint("hook", receivers[2].url, #", "tenant": "globex""#)
            let acme = try await server.tell([.limitReached], tenant: 1)
            let globex = try await server.tell([.limitReached], tenant: 2)
            let cost = try await server.tell([.budgetThresholdCrossed], tenant: 1, isForOperatorOnly: true)
            let wide = try await server.tell([.budgetThresholdCrossed], tenant: 0)
            #expect(try await server.deliveries(reach: Array(repeating: "succeeded", count: 6)))
            #expect(Set(receivers[0].received.map(\.id)) == Set(acme + globex + cost + wide))
            #expect(receivers[1].received.map(\.id) == acme)
            #expect(receivers[2].received.map(\.id) == globex)
            let reader = try await server.client([.webhooksRead, .webhooksWrite], tenant: "acme")
            let own = try await server.deliveries(by: reader)
            #expect(own.map { $0["event_id"]?.string } == acme)
            #expect(try await server.deliveries("?tenant=acme").count == 1)
            let operators = try await server.deliveries("?endpoint=hook")
            #expect(operators.count == 4 && operators.allSatisfy { $0["tenant"] == .null })
            #expect(try await server.deliveries("?endpoint=hook&tenant=acme").map { $0["event_id"]?.string } == acme)
            #expect(try await server.deliveries("?endpoint=hook", by: reader).map { $0["event_id"]?.string } == acme)
            let foreign = try #require(try await server.deliveries("?tenant=globex").first?["id"]?.string)
            #expect(try await reader.get("/api/v1/deliveries/\(foreign)").code == "delivery_not_found")
            #expect(try await reader.post("/api/v1/deliveries/\(foreign)/retry").code == "delivery_not_found")
            #expect(try await reader.get("/api/v1/deliveries?tenant=globex").code == "tenant_not_found")
        }
    }

    @Test("row-level security too hides from a tenant what is for operators only")
    func operatorsEventsAreNoRows() async throws {
        try await HookStory.run { server in
            let own = try await server.tell([.limitReached])
            try await server.tell([.budgetThresholdCrossed], isForOperatorOnly: true)
            try await server.withPool { pool in
                let seen = try await pool.query(
                    .interactive,
                    as: .tenant(1),
                    "SELECT event_id::text FROM webhook_event ORDER BY 1 LIMIT 9"
                ) { row throws(PostgresError) in try row.next(String.self) }
                #expect(seen == own)
            }
        }
    }

    @Test("the list narrows by endpoint, status and type of event, page by page")
    func deliveriesAreFiltered() async throws {
        let (good, bad) = (try WebhookReceiver(), try WebhookReceiver { _ in .init(500) })
        defer { [good, bad].forEach { $0.stop() } }
        try await HookStory.run { server in
            try await server.makeEndpoint("good", good.url)
            try await server.makeEndpoint("bad", bad.url, events: "invoice.paid")
            try await server.tell([.invoicePaid, .limitReached])
            #expect(try await server.deliveries(reach: ["pending", "succeeded", "succeeded"]))
            #expect(try await server.deliveries("?endpoint=good").count == 2)
            #expect(try await server.deliveries("?status=pending").count == 1)
            #expect(try await server.deliveries("?event_type=invoice.paid").count == 2)
            #expect(try await server.deliveries("?event_type=invoice.paid&status=succeeded").count == 1)
            let first = try await server.operatorClient.get("/api/v1/deliveries?limit=2").json
            let cursor = try #require(first["next_cursor"]?.string)
            #expect(try await server.deliveries("?limit=2&cursor=\(cursor)").count == 1)
            #expect(try await server.operatorClient.get("/api/v1/deliveries?status=lost").status == 400)
        }
    }
}
