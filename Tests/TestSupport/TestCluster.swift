import Crypto
import Foundation
package import Logging
import Postgres
import TurnpikeServer

/// The cluster the tests run in: the one of `TURNPIKE_TEST_DATABASE_URL`, or a private one that ends with the process.
///
/// Migrating is done once per set of migrations: the template's name is their digest, so a later run finds it.
actor TestCluster {
    static let shared = TestCluster()

    struct Prepared: Sendable {
        let url: String
        let template: String
    }

    private var preparation: Task<Prepared, any Error>?

    /// The first caller prepares, the others wait for it.
    func prepared() async throws -> Prepared {
        if let preparation { return try await preparation.value }
        let preparation = Task { try await Self.prepare() }
        self.preparation = preparation
        return try await preparation.value
    }

    private static func prepare() async throws -> Prepared {
        let url = try clusterURL()
        let template = "turnpike_template_" + digest()
        if try await exists(template, at: url) { return Prepared(url: url, template: template) }
        // Made under another name first, so that a process that comes at the same time never clones half a schema.
        let draft = "turnpike_draft_\(ProcessInfo.processInfo.processIdentifier)"
        try await PostgresDatabase.drop(draft, at: url)
        let draftURL = try await PostgresDatabase.create(draft, at: url)
        let configuration = try Configuration(environment: ["DATABASE_URL": draftURL])
        _ = try await Migrations.migrate(configuration, logger: .silent)
        do {
            try await PostgresDatabase.run("ALTER DATABASE \(draft) RENAME TO \(template)", at: url)
        } catch {
            guard try await exists(template, at: url) else { throw error }
            try await PostgresDatabase.drop(draft, at: url)
        }
        return Prepared(url: url, template: template)
    }

    private static func exists(_ database: String, at url: String) async throws -> Bool {
        var configuration = PostgresConfiguration(url: url)
        configuration.serviceRole = nil
        let pool = PostgresPool(configuration, logger: .silent)
        let found = try await pool.query(
            .worker,
            "SELECT datname::text FROM pg_database WHERE datname = \(database) ORDER BY 1 LIMIT 1"
        ) { row throws(PostgresError) in try row.next(String.self) }
        await pool.close()
        return !found.isEmpty
    }

    private static func digest() -> String {
        var hasher = SHA256()
        for migration in EmbeddedFiles.migrations { hasher.update(data: Data(migration.sql.utf8)) }
        return hasher.finalize().prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func clusterURL() throws -> String {
        if let url = ProcessInfo.processInfo.environment["TURNPIKE_TEST_DATABASE_URL"], !url.isEmpty { return url }
        let directory = NSTemporaryDirectory() + "/turnpike-test-\(ProcessInfo.processInfo.processIdentifier)"
        let cluster = try LocalCluster(directory: directory)
        try cluster.start(settings: ["fsync": "off", "max_connections": "300"])
        AtExit.run {
            try? cluster.stop()
            try? FileManager.default.removeItem(atPath: directory)
        }
        return try cluster.url
    }
}

extension Logger {
    package static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}
