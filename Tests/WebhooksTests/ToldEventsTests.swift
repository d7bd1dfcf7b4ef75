import Limits
import TestSupport
import Testing
import Web

/// What endpoints are told of alerts, subscriptions and tests, held against the contract.
@Suite(.timeLimit(.minutes(15)))
struct ToldEventsTests {
    private static let typesOfAlerts = [
        "threshold_crossed": "budget.threshold_crossed", "forecast": "budget.forecast_exceeded",
        "limit_reached": "limit.reached", "reservation_expired": "reservation.expired",
        "unpriced_usage": "usage.unpriced", "unmatched_usage": "usage.unmatched",
        "unmetered_usage": "usage.unmetered", "unsubscribed_usage": "usage.unsubscribed",
        "webhook_endpoint_disabled": "webhook_endpoint.disabled",
    ]
    private static let otherTypes: Set<String> = [
        "subscription.created", "subscription.changed", "subscription.canceled", "subscription.resumed", "webhook.test",
    ]

    /// Usage that does not count everywhere, and some that meets a threshold and heads for its budget's amount.
    private static func report(_ server: TestServer) async throws {
        try await server.addFeature("seconds")
        let call = #"{"provider":"openai","model":"gpt-9","input_tokens":1}"#
        try await server.ingest(
            SentEvent("unsubscribed"),
            SentEvent("unmatched", subject: "nobody"),
            SentEvent("unpriced", type: "chat", subject: "globex", data: call)
        )
        let budget = """
            {"key":"day","scope":{"tenant":"acme"},"measure":"requests","amount":"4","window":"day","mode":"soft",\
            "thresholds":[50],"forecast":true}
            """
        try await server.ask("POST", "/budgets", budget, expecting: 201)
        server.clock.advance(seconds: 3_600)
        try await server.ingest(SentEvent("half"), SentEvent("more"))
    }

    /// A reservation that nobody settles, and a call that has no room beside it.
    private static func admit(_ server: TestServer) async throws {
        let budget = """
            {"key":"one","scope":{"tenant":"globex"},"measure":"requests","amount":"1","window":"day","mode":"hard"}
            """
        try await server.ask("POST", "/budgets", budget, expecting: 201)
        for (id, isAllowed) in [("1", true), ("2", false)] {
            let call = """
                {"subject":"globex","type":"job.done","source":"gw","id":"\(id)","data":{},"ttl_seconds":60}
                """
            let answer = try await server.ask("POST", "/admissions", call)
            #expect(answer["allowed"] == .bool(isAllowed), "\(answer)")
        }
        // With its suspense.
        server.clock.advance(seconds: 3_700)
    }

    private static func subscribe(_ server: TestServer) async throws {
        for plan in ["pro", "max"] { try await server.publish("{}", as: plan) }
        let id = try await server.subscribe()
        for (action, body) in [
            ("change", #"{"plan":"max","at":"period_end"}"#), ("withdraw-changes", ""),
            ("cancel", #"{"at":"period_end"}"#), ("resume", ""),
        ] {
            try await server.ask("POST", "/subscriptions/\(id)/\(action)", body)
        }
    }

    @Test("each kind of alert is told as its own type of event, and what is told of them and of others is documented")
    func contract() async throws {
        let (told, gone) = (try WebhookReceiver(), try WebhookReceiver { _ in .init(410) })
        defer { [told, gone].forEach { $0.stop() } }
        try await HookStory.run { server in
            try await server.makeEndpoint("all", told.url)
            try await server.makeEndpoint("gone", gone.url, events: "invoice.paid", #", "tenant": "acme""#)
            try await Self.report(server)
            try await Self.admit(server)
            try await Self.subscribe(server)
            for endpoint in ["all/test", "gone/test?tenant=acme"] {
                try await server.ask("POST", "/webhook-endpoints/\(endpoint)", expecting: 202)
            }
            let expected = Set(Self.typesOfAlerts.values).union(Self.otherTypes)
            var types: Set<String> = []
            let isTold = try await eventually {
                types = Set(try told.received.compactMap { try JSONValue(parsing: $0.body)["type"]?.string })
                return types.isSuperset(of: expected)
            }
            #expect(isTold, "\(expected.subtracting(types)) is not told")
            let bodies = Set(told.received.map(\.body)).sorted()
            var typesByKind: [String: Set<String>] = [:]
            for body in bodies {
                let event = try JSONValue(parsing: body)
                guard let kind = event["data"]?["kind"]?.string else { continue }
                typesByKind[kind, default: []].insert(event["type"]?.string ?? "")
            }
            let documented = Self.typesOfAlerts.mapValues { Set([$0]) }
            #expect(typesByKind == documented)
            #expect(Set(AlertKind.allCases.map(\.rawValue)) == Set(documented.keys))
            try await WebhookContract.check(bodies)
        }
    }
}
