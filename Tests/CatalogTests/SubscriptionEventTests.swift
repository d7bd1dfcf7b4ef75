import Postgres
import TestSupport
import Testing
import Web

/// What webhooks are told of subscriptions.
@Suite struct SubscriptionEventTests {
    @Test("each change of a subscription is told in its own transaction, and what is only tried is not")
    func changesAreTold() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            _ = try await server.expect(201, "POST", "/plans", #"{"key":"max","name":"Max","currency":"USD"}"#)
            _ = try await server.expect(201, "POST", "/plans/max/versions", "{}")
            _ = try await server.expect(200, "POST", "/plans/max/versions/1/publish")
            let subscribe = #"{"tenant":"acme","plan":"pro"}"#
            let tried = #"{"tenant":"acme","plan":"pro","dry_run":true}"#
            _ = try await server.expect(200, "POST", "/subscriptions", tried)
            let made = try await server.expect(201, "POST", "/subscriptions", subscribe)
            let one = "/subscriptions/\(made.json["id"]?.string ?? "")"
            _ = try await server.expect(200, "POST", "\(one)/change", #"{"plan":"max","at":"period_end"}"#)
            _ = try await server.expect(200, "POST", "\(one)/withdraw-changes")
            _ = try await server.expect(200, "POST", "\(one)/cancel", #"{"at":"period_end","dry_run":true}"#)
            _ = try await server.expect(200, "POST", "\(one)/cancel", #"{"at":"period_end"}"#)
            _ = try await server.expect(200, "POST", "\(one)/resume")
            let told = try await server.column(
                """
                SELECT concat_ws(' ', event_type, tenant_id, data ->> 'tenant', data ->> 'plan', data ->> 'status',
                    data ->> 'effective_at', data ->> 'ends_at')
                FROM webhook_event WHERE (data ->> 'subscription')::uuid = \(made.json["id"]?.string ?? "")::text::uuid
                ORDER BY event_id LIMIT 99
                """
            )
            let (now, end) = ("2026-11-23T08:00:00.000000Z", "2026-12-23T08:00:00.000000Z")
            #expect(
                Set(told.compactMap(\.self)) == [
                    "subscription.created 1 acme pro active \(now)",
                    "subscription.changed 1 acme max active \(end)",
                    "subscription.changed 1 acme pro active \(now)",
                    "subscription.canceled 1 acme pro active \(end) \(end)",
                    "subscription.resumed 1 acme pro active \(now)",
                ]
            )
            #expect(told.count == 5)
        }
    }

    @Test("a cancellation to the same end changes nothing, and is recorded and told once")
    func theSameCancellationIsToldOnce() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            let made = try await server.expect(201, "POST", "/subscriptions", #"{"tenant":"acme","plan":"pro"}"#)
            let cancel = "/subscriptions/\(made.json["id"]?.string ?? "")/cancel"
            func told() async throws -> [String?] {
                try await server.column(
                    """
                    SELECT data ->> 'ends_at' FROM webhook_event WHERE event_type = 'subscription.canceled'
                    UNION ALL SELECT action FROM audit_log WHERE action = 'subscription.cancelled'
                    ORDER BY 1 LIMIT 9
                    """
                )
            }
            let first = try await server.expect(200, "POST", cancel, #"{"at":"period_end"}"#)
            server.clock.advance(seconds: 60)
            for body in [#"{"at":"period_end"}"#, #"{"at":"2026-12-23T08:00:00Z"}"#] {
                let again = try await server.expect(200, "POST", cancel, body)
                #expect(again.json == first.json && again.header("ETag") == "\"2\"")
            }
            #expect(try await told() == ["2026-12-23T08:00:00.000000Z", "subscription.cancelled"])
            let other = try await server.expect(200, "POST", cancel, #"{"at":"2026-12-01T00:00:00Z"}"#)
            #expect(other.header("ETag") == "\"3\"")
            #expect(try await told().count == 4)
        }
    }
}
