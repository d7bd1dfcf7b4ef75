import Web

/// An event in words, for people: a title, and its values line by line, those of an alert's details first. None of
/// them begins a line by itself.
struct EventText: Sendable {
    let title: String
    let lines: [(name: String, value: String)]

    init(_ event: ClaimedDelivery.Event) {
        let data = (try? JSONValue(stored: event.data)) ?? .null
        let name = Self.plain(data["detail"]?["limit"]).map { ": \($0)" } ?? ""
        let tenant = Self.plain(data["tenant"]).map { " (\($0))" } ?? ""
        title = Self.happening(event.type, data) + name + tenant
        lines = Self.lines(data["detail"] ?? .null) + Self.lines(data)
    }

    /// What has happened. An alert of a budget may be one of a quota or spend cap as well, which its details say.
    private static func happening(_ type: String, _ data: JSONValue) -> String {
        var words = type.replacing(".", with: " ").replacing("_", with: " ")
        if words.hasPrefix("budget "), let origin = plain(data["detail"]?["origin"]) {
            words = origin.replacing("_", with: " ") + words.dropFirst("budget".count)
        }
        let threshold = plain(data["threshold"]).map { " at \($0) %" } ?? ""
        return words.prefix(1).uppercased() + words.dropFirst() + threshold
    }

    /// The plain values of an object, and those of the objects in it under both names. Details are an alert's own.
    private static func lines(_ value: JSONValue) -> [(name: String, value: String)] {
        guard case .object(let members) = value else { return [] }
        return members.flatMap { member in
            let name = member.name.replacing("_", with: " ").onOneLine
            if let text = plain(member.value) { return [(name, text)] }
            return name == "detail" ? [] : lines(member.value).map { ("\(name) \($0.name)", $0.value) }
        }
    }

    private static func plain(_ value: JSONValue?) -> String? {
        switch value {
        case .string(let text): text.onOneLine
        case .number(let text): text
        case .bool(let value): value ? "yes" : "no"
        case .null, .array, .object, nil: nil
        }
    }

    /// The body of an incoming webhook of Slack: `{"text": "..."}`, in its mark-up. Others that take it, such as Google
    /// Chat, refuse members that they don't know.
    var slackBody: [UInt8] {
        let text = (["*\(Self.escaped(title))*"] + lines.map { "\(Self.escaped($0.name)): \(Self.escaped($0.value))" })
            .joined(separator: "\n")
        var bytes = Array(#"{"text":"#.utf8)
        JSONValue.writeString(text, to: &bytes)
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    /// The three characters that mean something to Slack, without which nobody is mentioned and no link stands behind
    /// other words; an address in a value is linked as it reads. Mattermost and others mention who stands behind `@`,
    /// and read links of Markdown: a word joiner, which nobody sees, parts what they look for. Backticks would make
    /// code of what follows.
    private static func escaped(_ text: String) -> String {
        text.replacingScalars { scalar in
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "@": "@\u{2060}"
            case "]": "]\u{2060}"
            case "`": "'"
            default: nil
            }
        }
    }
}
