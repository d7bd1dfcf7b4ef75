import HTTPTypes
import Web

/// `/docs`: the operations the running service answers, with a link to the contract. One page without scripts and
/// without anything from elsewhere.
enum DocsPage {
    static func html(_ operations: [Operation]) -> String {
        let rows = operations.sorted { ($0.path, $0.method.rawValue) < ($1.path, $1.method.rawValue) }.map {
            operation in
            """
            <tr><td><code>\(operation.method.rawValue)</code></td><td><code>\(escaped(operation.path))</code></td>\
            <td>\(escaped(operation.id))</td><td>\(access(operation))</td></tr>
            """
        }
        return """
            <!doctype html>
            <html lang="en">
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width">
            <title>Turnpike API</title>
            <style>\(style)</style>
            <h1>Turnpike API</h1>
            <p>The contract is <a href="/openapi.yaml">openapi.yaml</a> (OpenAPI 3.1). Send an API key as
            <code>Authorization: Bearer tpk_...</code>, or a token of <code>/oauth/token</code>; every error is an
            RFC 9457 problem with a stable <code>code</code>.</p>
            <table>
            <thead><tr><th>Method</th><th>Path</th><th>Operation</th><th>Scope</th></tr></thead>
            <tbody>
            \(rows.joined(separator: "\n"))
            </tbody>
            </table>
            </html>

            """
    }

    private static let style = """
        body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
        table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .75rem .35rem 0;\
        border-bottom:1px solid #d8dee4}code{font-size:.95em}\
        @media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}a{color:#8ab4f8}}
        """

    private static func access(_ operation: Operation) -> String {
        switch operation.access {
        case .open: "open"
        case .anyOf(let scopes): "<code>\(scopes.names.joined(separator: "</code> or <code>"))</code>"
        }
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }
}
