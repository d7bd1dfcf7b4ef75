import BillingCore
import TestSupport
import Testing
import Web

@testable import Webhooks

/// Events for people, and the arithmetic of trying again.
@Suite struct EventTextTests {
    @Test("Slack gets a text whose values link nothing and mention nobody")
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
