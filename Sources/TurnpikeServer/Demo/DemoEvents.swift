import BillingCore

/// The usage of the demo: two tenants' calls over the last two days, the same ones at every first start.
enum DemoEvents {
    static let count = 48
    private static let spanSeconds: Int64 = 47 * 3_600
    private static let models = [("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5")]

    /// How long before the present the earliest event is.
    static func earliest(before now: Instant) -> Instant { now.adding(seconds: -spanSeconds) }

    /// A batch for `POST /events`. Its last event has a subject that nobody has registered.
    static func batch(now: Instant) -> String {
        var events = (0..<count).map { call($0, now: now) }
        events.append(
            """
            {"id": "demo-unmatched", "source": "demo-gateway", "type": "llm.completion", "subject": "initech",
             "data": {"provider": "openai", "model": "gpt-4o", "input_tokens": 900, "output_tokens": 150}}
            """
        )
        return "[" + events.joined(separator: ",\n") + "]"
    }

    private static func call(_ index: Int, now: Instant) -> String {
        let (provider, model) = models[index % models.count]
        let subject = index % 4 == 3 ? "globex" : index % 2 == 0 ? "acme" : "acme-prod"
        let input = 1_200 + index * 37 % 13 * 260
        let cached = index % 3 == 0 ? input / 2 : 0
        let output = 240 + index * 53 % 7 * 90
        let time = earliest(before: now).adding(seconds: spanSeconds * Int64(index) / Int64(count))
        return """
            {"id": "demo-\(index + 1)", "source": "demo-gateway", "type": "llm.completion", "subject": "\(subject)",
             "time": "\(time)", "data": {"provider": "\(provider)", "model": "\(model)", "input_tokens": \(input),
             "cached_input_tokens": \(cached), "output_tokens": \(output), "user": "u\(index % 5 + 1)"}}
            """
    }
}
