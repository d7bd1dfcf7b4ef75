import Identity
import TurnpikeServer

/// What `turnpike dev` prints once it serves.
struct DevWelcome {
    let url: String
    let keys: DemoKeys
    let keysFile: String

    private static let bold = "\u{1B}[1m"
    private static let faint = "\u{1B}[2m"
    private static let plain = "\u{1B}[0m"

    func text(isColoured: Bool) -> String {
        let rows = [
            ("Turnpike", url),
            ("Documentation", url + "/docs"),
            ("Operator key", keys.operatorKey.text),
            ("Gateway key", keys.gatewayKey?.text ?? ""),
            ("Portal key", "\(keys.portalKey?.text ?? "")  (tenant \(Demo.tenant))"),
            ("Kept in", "\(keysFile)  (load it with: . \(keysFile))"),
        ]
        let width = rows.map(\.0.count).max() ?? 0
        func title(_ text: String) -> String { isColoured ? Self.bold + text + Self.plain : text }
        func note(_ text: String) -> String { isColoured ? Self.faint + text + Self.plain : text }
        let table = rows.map { name, value in
            title(name) + String(repeating: " ", count: width - name.count + 2) + value
        }
        let calls = calls.flatMap { ["", note("# \($0.purpose)"), $0.command] }
        return (["", ""] + table + [""] + [title("Try")] + calls + ["", "Ctrl-C ends it.", "", ""])
            .joined(separator: "\n")
    }

    private var calls: [(purpose: String, command: String)] {
        let portal = keys.portalKey?.text ?? ""
        let event =
            #"{"id":"try-1","source":"me","type":"llm.completion","subject":"\#(Demo.tenant)","#
            + #""data":{"model":"gpt-4o","input_tokens":1200,"output_tokens":300,"user":"u9"}}"#
        return [
            (
                "report usage (again: counted once)",
                "curl -sS \(url)/api/v1/events -H 'Authorization: Bearer \(keys.gatewayKey?.text ?? "")'"
                    + " -H 'Content-Type: application/json' -d '\(event)'"
            ),
            (
                "what is left of the quotas",
                "curl -sS \(url)/api/v1/tenants/\(Demo.tenant)/quotas -H 'Authorization: Bearer \(portal)'"
            ),
            (
                "the invoice as it stands",
                "curl -sS \(url)/api/v1/tenants/\(Demo.tenant)/upcoming-invoice -H 'Authorization: Bearer \(portal)'"
            ),
        ]
    }
}
