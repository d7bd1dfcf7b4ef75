/// Databases of a cluster: made from a template and dropped, by a superuser or an owner that may.
package enum PostgresDatabase {
    /// Creates `name` as a copy of `template` (the cluster's own by default) and returns its URL.
    ///
    /// Nobody may be connected to the template. `url` names another database of the same cluster, as a URI.
    @discardableResult
    package static func create(_ name: String, template: String? = nil, at url: String) async throws -> String {
        let source = template.map { " TEMPLATE \(quotedIdentifier($0))" } ?? ""
        try await run("CREATE DATABASE \(quotedIdentifier(name))\(source)", at: url)
        return self.url(of: name, at: url)
    }

    /// Drops `name` if it exists, ending the sessions in it.
    package static func drop(_ name: String, at url: String) async throws {
        try await run("DROP DATABASE IF EXISTS \(quotedIdentifier(name)) WITH (FORCE)", at: url)
    }

    /// The URI of another database of the same cluster.
    package static func url(of name: String, at url: String) -> String {
        let parts = url.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let query = parts.count > 1 ? "?" + parts[1] : ""
        let segments = parts[0].split(separator: "/", omittingEmptySubsequences: false)
        guard segments.count > 2, segments[1].isEmpty else { return "\(url) dbname=\(name)" }
        return segments.prefix(3).joined(separator: "/") + "/\(name)\(query)"
    }

    /// Runs statements by the simple protocol as the login role, on a connection made for them.
    package static func run(_ text: String, at url: String) async throws {
        let configuration = PostgresConfiguration(url: url).asOwner()
        try await DedicatedThread.run("pg-admin") {
            _ = try Session(configuration).run(text)
        }
    }
}
