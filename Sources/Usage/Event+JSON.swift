internal import BillingCore
internal import Web

extension UsageEvent {
    /// The normalised event as a CloudEvent in JSON. Decoding it gives an equal event, with the same key and hash.
    package var json: String {
        var writer = EventWriter()
        writer.text("specversion", "1.0")
        writer.text("id", id)
        writer.text("source", source)
        writer.text("type", type)
        writer.text("subject", subject)
        writer.text("time", time?.description)
        writer.members(of: extensions)
        let data = dataJSON
        if data.utf8.count > 2 {
            writer.raw("data", data)
        }
        return writer.finished()
    }

    /// The LLM fields under their own names, and what else `data` holds, as one JSON object.
    package var dataJSON: String {
        var writer = EventWriter()
        writer.text("provider", usage.provider)
        writer.text("model", usage.model)
        writer.count("input_tokens", usage.inputTokens)
        writer.count("cached_input_tokens", usage.cachedInputTokens)
        writer.count("cache_write_tokens", usage.cacheWriteTokens)
        writer.count("output_tokens", usage.outputTokens)
        writer.count("reasoning_tokens", usage.reasoningTokens)
        writer.text("user", usage.user)
        writer.text("feature", usage.feature)
        writer.text("cost_center", usage.costCenter)
        writer.text("request_id", usage.requestID)
        writer.text("cost", usage.cost?.description)
        writer.members(of: data)
        return writer.finished()
    }
}

private struct EventWriter {
    private var bytes = Array("{".utf8)

    mutating func text(_ name: String, _ value: String?) {
        guard let value else { return }
        self.name(name)
        JSONValue.writeString(value, to: &bytes)
    }

    mutating func count(_ name: String, _ value: Int64?) {
        guard let value else { return }
        raw(name, String(value))
    }

    mutating func raw(_ name: String, _ json: String) {
        self.name(name)
        bytes.append(contentsOf: json.utf8)
    }

    /// Adds the members of an object given as text.
    mutating func members(of object: String?) {
        guard let object, object.utf8.count > 2 else { return }
        separate()
        bytes.append(contentsOf: object.utf8.dropFirst().dropLast())
    }

    func finished() -> String {
        String(decoding: bytes + [UInt8(ascii: "}")], as: UTF8.self)
    }

    private mutating func name(_ name: String) {
        separate()
        JSONValue.writeString(name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
    }

    private mutating func separate() {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
    }
}
