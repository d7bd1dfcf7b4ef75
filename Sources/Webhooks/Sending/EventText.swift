import Web

/// An event in words, for people: a title, and its plain values line by line.
struct EventText: Sendable {
    let title: String
    let lines: [(name: String, value: String)]

    init(_ event: ClaimedDelivery.Event) {
        let data = (try? JSONValue(stored: event.data)) ?? .null
        let words = event.type.replacing(".", with: " ").replacing("_", with: " ")
        let subject = Self.plain(data["tenant"]).map { " (\($0))" } ?? ""
        title = words.prefix(1).uppercased() + words.dropFirst() + subject
        guard case .object(let members) = data else {
            lines = []
            return
        }
        lines = members.compactMap { member in
            Self.plain(member.value).map { (member.name.replacing("_", with: " "), $0) }
        }
    }

    private static func plain(_ value: JSONValue?) -> String? {
        switch value {
        case .string(let text): text
        case .number(let text): text
        case .bool(let value): value ? "yes" : "no"
        case .null, .array, .object, nil: nil
        }
    }

    /// The body of an incoming webhook of Slack: `{"text": "..."}`, in its mark-up.
    var slackBody: [UInt8] {
        let text = (["*\(Self.escaped(title))*"] + lines.map { "\(Self.escaped($0.name)): \(Self.escaped($0.value))" })
            .joined(separator: "\n")
        var bytes = Array(#"{"text":"#.utf8)
        JSONValue.writeString(text, to: &bytes)
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    /// The three characters that mean something to Slack, without which nothing links and nobody is mentioned.
    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }
}
