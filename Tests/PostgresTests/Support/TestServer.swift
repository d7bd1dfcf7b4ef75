import Foundation
import Postgres
import Synchronization
import Testing

/// The server the tests share: the one of `TURNPIKE_TEST_DATABASE_URL`, or a cluster of our own that ends with us.
enum TestServer {
    private static let shared: Result<String, any Error> = Result {
        if let url = ProcessInfo.processInfo.environment["TURNPIKE_TEST_DATABASE_URL"] { return url }
        let cluster = try LocalCluster(directory: temporaryDirectory())
        try cluster.start(settings: ["fsync": "off", "max_connections": "200"])
        running.withLock { $0.append(cluster) }
        atexit { TestServer.stopAll() }
        return try cluster.url
    }

    private static let running = Mutex<[LocalCluster]>([])

    static let roles = """
        DO $$ BEGIN CREATE ROLE turnpike_service NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        DO $$ BEGIN CREATE ROLE turnpike_tenant NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        """

    static func url() throws -> String { try shared.get() }

    static func temporaryDirectory() -> String {
        NSTemporaryDirectory() + "turnpike-test-\(UInt64.random(in: 0...UInt64.max))"
    }

    private static func stopAll() {
        for cluster in running.withLock({ $0 }) {
            try? cluster.kill()
            try? FileManager.default.removeItem(atPath: cluster.directory)
        }
    }

    /// Runs `body` against a database of its own, in which `setup` was run by the superuser.
    static func withDatabase<R>(setup: String = "", _ body: (String) async throws -> R) async throws -> R {
        let server = try url()
        let name = "turnpike_test_\(UInt64.random(in: 0...UInt64.max))"
        let database = try await PostgresDatabase.create(name, at: server)
        try await PostgresDatabase.run(
            """
            \(roles)
            \(setup);
            GRANT USAGE ON SCHEMA public TO turnpike_service, turnpike_tenant;
            GRANT ALL ON ALL TABLES IN SCHEMA public TO turnpike_service, turnpike_tenant;
            """,
            at: database
        )
        let result: R
        do {
            result = try await body(database)
        } catch {
            try? await PostgresDatabase.drop(name, at: server)
            throw error
        }
        try await PostgresDatabase.drop(name, at: server)
        return result
    }

    /// Runs `body` with a pool on a database of its own.
    static func withPool<R>(
        setup: String = "",
        configure: (inout PostgresConfiguration) -> Void = { _ in },
        _ body: (PostgresPool) async throws -> R
    ) async throws -> R {
        try await withDatabase(setup: setup) { url in
            var configuration = PostgresConfiguration(url: url)
            configure(&configuration)
            let pool = PostgresPool(configuration)
            let result: R
            do {
                result = try await body(pool)
            } catch {
                await pool.close()
                throw error
            }
            await pool.close()
            return result
        }
    }

    /// Runs `body` with a cluster of its own, which it may kill.
    static func withCluster<R>(_ body: (LocalCluster) async throws -> R) async throws -> R {
        let cluster = try LocalCluster(directory: temporaryDirectory())
        defer {
            try? cluster.kill()
            try? FileManager.default.removeItem(atPath: cluster.directory)
        }
        try cluster.start(settings: ["fsync": "off"])
        try await PostgresDatabase.run(roles, at: cluster.url)
        return try await body(cluster)
    }
}

/// Polls until the condition holds; the test fails when it doesn't within the bound.
func eventually(
    within bound: Duration = .seconds(60),
    _ what: Comment,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let clock = ContinuousClock()
    let deadline = clock.now + bound
    while try await !condition() {
        guard clock.now < deadline else {
            Issue.record(what, sourceLocation: sourceLocation)
            return
        }
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// The failure of `work`, which must be one of the driver's.
func failure(
    sourceLocation: SourceLocation = #_sourceLocation,
    of work: () async throws -> Void
) async throws -> PostgresError {
    do {
        try await work()
    } catch let error as PostgresError {
        return error
    }
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    throw NothingThrown()
}

struct NothingThrown: Error {}
