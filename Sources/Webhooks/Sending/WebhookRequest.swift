import BillingCore
import Identity
import Web

/// An attempt as Standard Webhooks has it: a body of `type`, `timestamp` and `data`, and headers that sign it.
struct WebhookRequest: Sendable {
    let body: [UInt8]
    let headers: [(String, String)]

    /// - Parameters:
    ///   - keys: each adds a signature, so that a receiver may verify with any of them.
    ///   - now: the time of this attempt, by which receivers know a replay.
    init(_ event: ClaimedDelivery.Event, signedWith keys: [WebhookSigningKey], at now: Instant) throws {
        let body = Self.body(of: event)
        let timestamp = String(now.microseconds / 1_000_000)
        let content = Array("\(event.id).\(timestamp).".utf8) + body
        self.body = body
        headers = [
            ("Content-Type", "application/json"),
            ("webhook-id", event.id.description),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", try keys.map { try $0.signature(of: content) }.joined(separator: " ")),
        ]
    }

    private static func body(of event: ClaimedDelivery.Event) -> [UInt8] {
        var bytes = Array(#"{"type":"#.utf8)
        JSONValue.writeString(event.type, to: &bytes)
        bytes.append(contentsOf: #","timestamp":"#.utf8)
        JSONValue.writeString(event.occurredAt.description, to: &bytes)
        bytes.append(contentsOf: #","data":"#.utf8)
        bytes.append(contentsOf: event.data.utf8)
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }
}
