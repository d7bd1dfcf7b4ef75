import BillingCore
import TestSupport
import Testing
import Web

@testable import Webhooks

/// Events for people, and the arithmetic of trying again.
@Suite struct EventTextTests {
    @Test("Slack gets a text whose values mention nobody, and link nothing behind other words")
    func slackTextIsPlain() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await server.makeEndpoint("chat", receiver.url, #", "kind": "slack""#)
            let data = """
                {"tenant":"acme","threshold":null,"window":{"start":"2026-11-01","end":"2026-12-01"},"hard":true,\
                "detail":{"limit":"<!channel> & <https://a.b|c>","used":12.5}}
                """
            try await server.tell([.limitReached], data: data)
            #expect(try await server.deliveries(reach: ["succeeded"]))
            let sent = try #require(receiver.received.first)
            #expect(sent.headers["webhook-signature"] == nil)
            let text = try JSONValue(parsing: sent.body)["text"]?.string
            let expected = """
                *Limit reached: &lt;!channel&gt; &amp; &lt;https://a.b|c&gt; (acme)*
                limit: &lt;!channel&gt; &amp; &lt;https://a.b|c&gt;
                used: 12.5
                tenant: acme
                window start: 2026-11-01
                window end: 2026-12-01
                hard: yes
                """
            #expect(text == expected)
        }
    }

    @Test("no value begins a line of a text for Slack, whatever would end one, and no mark hides its mark-up")
    func valuesStayOnTheirLines() throws {
        let data = #"""
            {"tenant":"acme\nused: 0","detail":{"limit":"a\r\nb","scope_value":"u\u2028v\u2029w\u0085x\u000by\u001bz",
             "model":"<\u200d!channel>\u0301","own\nname":"n","user":"@here [pay](https://a.b) `x"}}
            """#
        let event = try Self.event("limit.reached", data)
        let expected = """
            *Limit reached: a  b (acme used: 0)*
            limit: a  b
            scope value: u v w x y z
            model: &lt;\u{200D}!channel&gt;\u{301}
            own name: n
            user: @\u{2060}here [pay]\u{2060}(https://a.b) 'x
            tenant: acme used: 0
            """
        #expect(try JSONValue(parsing: EventText(event).slackBody)["text"]?.string == expected)
    }

    @Test(
        "a title says which threshold was crossed, and of what",
        arguments: [
            ("quota", "Quota threshold crossed at 80 %: tokens (acme)"),
            ("spend_cap", "Spend cap threshold crossed at 80 %: tokens (acme)"),
            ("budget", "Budget threshold crossed at 80 %: tokens (acme)"),
        ]
    )
    func titles(origin: String, title: String) throws {
        let data = #"{"tenant":"acme","threshold":"80","detail":{"limit":"tokens","origin":"\#(origin)"}}"#
        #expect(try EventText(Self.event("budget.threshold_crossed", data)).title == title)
    }

    private static func event(_ type: String, _ data: String) throws -> ClaimedDelivery.Event {
        ClaimedDelivery.Event(
            id: try #require(UUIDv7("0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f60")),
            type: type,
            occurredAt: try Instant(parsing: "2026-11-23T08:00:00Z"),
            data: data
        )
    }

    @Test("the tries of a delivery spread over about a day, each within its jitter")
    func retriesTakeADay() throws {
        let start = try Instant(parsing: "2026-11-23T08:00:00Z")
        for jitter in [RetrySchedule.jitterPercent.lowerBound, 0, RetrySchedule.jitterPercent.upperBound] {
            var (now, failures) = (start, Int32(0))
            while let next = RetrySchedule.next(afterFailures: failures + 1, at: now, jitterPercent: jitter) {
                #expect(next > now)
                (now, failures) = (next, failures + 1)
            }
            #expect(failures == 12)
            let hours = Double(now.microseconds - start.microseconds) / 3_600_000_000
            #expect((18.0...30.0).contains(hours), "\(hours) h")
        }
    }
}
