import Foundation
import Glibc
import Postgres
import TestSupport

/// The real `turnpike serve`, in one process or several, on a PostgreSQL of its own with fsync on. A test may kill each
/// and start it again: all come back under the same address.
actor ServedTurnpike {
    static let operatorKey = TurnpikeProcess.operatorKey

    nonisolated let ports: [Int]
    nonisolated let databaseURL: String
    private let cluster: LocalCluster
    private let clusterSettings: [String: String]
    private let settings: [String: String]
    private let directory: URL
    private var children: [ChildProcess] = []

    /// - Parameters:
    ///   - replicas: how many processes serve.
    ///   - clusterSettings: PostgreSQL's, added to those of a small durable server.
    ///   - settings: the service's, from the URL of the superuser's database.
    static func run<Result: Sendable>(
        replicas: Int = 1,
        clusterSettings: [String: String] = [:],
        settings: @Sendable (String) async throws -> [String: String] = { _ in [:] },
        _ body: (ServedTurnpike) async throws -> Result
    ) async throws -> Result {
        try await withTemporaryDirectory { directory in
            let cluster = try LocalCluster(directory: directory.path + "/cluster")
            let durable = ["fsync": "on", "max_connections": "60", "shared_buffers": "32MB"]
                .merging(clusterSettings) { $1 }
            do {
                try await offTheThreadPool { try cluster.start(settings: durable) }
                let url = try await PostgresDatabase.create("turnpike", at: try cluster.url)
                let turnpike = try await ServedTurnpike(
                    replicas: replicas,
                    cluster: cluster,
                    clusterSettings: durable,
                    databaseURL: url,
                    settings: try await settings(url),
                    directory: directory
                )
                let result = try await use(turnpike, body)
                try await offTheThreadPool { try cluster.stop() }
                return result
            } catch {
                try? await offTheThreadPool {
                    cluster.thaw()
                    try cluster.stop()
                }
                throw error
            }
        }
    }

    private init(
        replicas: Int,
        cluster: LocalCluster,
        clusterSettings: [String: String],
        databaseURL: String,
        settings: [String: String],
        directory: URL
    ) async throws {
        ports = try (0..<replicas).map { _ in try TestTools.freePort() }
        self.cluster = cluster
        self.clusterSettings = clusterSettings
        self.databaseURL = databaseURL
        self.settings = settings
        self.directory = directory
    }

    private static func use<Result: Sendable>(
        _ turnpike: ServedTurnpike,
        _ body: (ServedTurnpike) async throws -> Result
    ) async throws -> Result {
        do {
            try await turnpike.start()
            let result = try await body(turnpike)
            await turnpike.stop()
            return result
        } catch {
            let output = await turnpike.output().suffix(4_000)
            await turnpike.stop()
            throw ChildProcess.Failure(description: "\(error)\n\(output)")
        }
    }

    nonisolated var client: TestClient { client(0) }

    nonisolated func client(_ replica: Int) -> TestClient { TestClient(port: ports[replica], key: Self.operatorKey) }

    // MARK: - The service

    private func start() async throws {
        for replica in ports.indices {
            children.append(try launch(replica))
            try await waitUntilReady(replica)
        }
    }

    /// Kills the service with signal 9, starts it again and waits until it is ready.
    func crashService(_ replica: Int = 0) async throws {
        await children[replica].crash()
        _ = try await children[replica].exitCode(within: .seconds(60))
        children[replica] = try launch(replica)
        try await waitUntilReady(replica)
    }

    /// Sends SIGTERM and goes on at once.
    func terminate() {
        Glibc.kill(children[0].processID, SIGTERM)
    }

    func exitCode(within duration: Duration) async throws -> Int32 {
        try await children[0].exitCode(within: duration)
    }

    /// Starts the service again after it has ended, and says how long it took until it was ready.
    func startService() async throws -> Duration {
        let start = ContinuousClock.now
        children[0] = try launch(0)
        try await waitUntilReady(0)
        return ContinuousClock.now - start
    }

    private func stop() async {
        for child in children { await child.stop() }
    }

    func output() async -> String {
        var output = ""
        for child in children { output += await child.output() }
        return output
    }

    private func waitUntilReady(_ replica: Int) async throws {
        let probe = TestClient(port: ports[replica], key: nil)
        try await children[replica].waitUntilReady(within: .seconds(60)) {
            (try? await probe.get("/readyz").status) == 200
        }
    }

    private func launch(_ replica: Int) throws -> ChildProcess {
        guard let binary = TestTools.turnpikeBinary else {
            throw ChildProcess.Failure(description: "turnpike is not built; run `swift build --build-tests`")
        }
        let environment = [
            "PATH": "/usr/bin:/bin", "DATABASE_URL": databaseURL, "TURNPIKE_PORT": String(ports[replica]),
            "TURNPIKE_OPERATOR_KEY": Self.operatorKey,
        ]
        return try ChildProcess(
            binary,
            arguments: ["serve"],
            environment: environment.merging(settings) { $1 },
            directory: directory
        )
    }

    // MARK: - The database

    /// Kills every process of PostgreSQL with signal 9. What it had only in memory is gone.
    func killDatabase() async throws {
        try await offTheThreadPool { [cluster] in try cluster.kill() }
    }

    /// Writes out what is committed and then stops PostgreSQL's log writer where it is, so that commits nobody waits
    /// for stay in memory. It ends with `killDatabase`.
    nonisolated func stopLogWriter() async throws {
        let writers = try await PostgresDatabase.asOwner(at: databaseURL) { pool in
            try await pool.execute(.worker, "CHECKPOINT")
            return try await pool.query(
                .worker,
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
            ) { row throws(PostgresError) in try row.next(Int32.self) }
        }
        guard writers.count == 1, Glibc.kill(writers[0], SIGSTOP) == 0 else {
            throw ChildProcess.Failure(description: "PostgreSQL's log writer can't be stopped: \(writers)")
        }
    }

    func startDatabase() async throws {
        try await offTheThreadPool { [cluster, clusterSettings] in try cluster.start(settings: clusterSettings) }
    }

    /// Runs the body while PostgreSQL accepts connections and never answers.
    nonisolated func whileDatabaseHangs(_ body: () async throws -> Void) async throws {
        try await offTheThreadPool { [cluster] in try cluster.freeze() }
        try await Self.run(body) {
            try await offTheThreadPool { [cluster] in cluster.thaw() }
        }
    }

    /// Runs the body and then, whatever came of it, what sets things right again.
    private static func run(_ body: () async throws -> Void, then restore: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            try await restore()
            throw error
        }
        try await restore()
    }

    /// Fills a table with rows of nobody's, so that it is longer than a segment of PostgreSQL's log.
    /// - Parameters:
    ///   - table: with the columns that are filled.
    ///   - row: what to insert, of a number `n`.
    nonisolated func fill(_ table: String, with row: String) async throws {
        let statement = "INSERT INTO \(table) SELECT \(row) FROM generate_series(1, 280000) AS n"
        try await PostgresDatabase.run(statement, at: databaseURL)
    }

    /// Runs the body while a filled table can't grow any more, nor any file beyond its length: PostgreSQL finds the
    /// disk full, and goes on writing its log.
    nonisolated func whileDiskIsFull(for table: SQL, _ body: () async throws -> Void) async throws {
        try await bound(table) { length in
            guard length > Self.logSegmentBytes else {
                throw ChildProcess.Failure(description: "the table is only \(length) bytes long")
            }
            // In the middle of the next page: what is written of it falls short, as on a full disk. It may be there
            // from the last time.
            return UInt(length) / Self.pageBytes * Self.pageBytes + Self.pageBytes / 2
        }
        try await Self.run(body) { try await bound(table) { _ in nil } }
    }

    /// Bounds PostgreSQL's files while nobody makes a table longer: its processes come by their bound one after the
    /// other.
    /// - Parameter bytes: the bound, of the table's length.
    private nonisolated func bound(_ table: SQL, to bytes: @Sendable (Int64) throws -> UInt?) async throws {
        try await PostgresDatabase.asOwner(at: databaseURL) { pool in
            try await pool.transaction(.worker) { [cluster] transaction in
                try transaction.execute("LOCK TABLE \(table) IN EXCLUSIVE MODE")
                let length = try transaction.first("SELECT pg_relation_size('\(table)')") {
                    row throws(PostgresError) in try row.next(Int64.self)
                }
                try cluster.boundFiles(toBytes: try bytes(length ?? 0))
            }
        }
    }

    private static let logSegmentBytes: Int64 = 16 << 20
    private static let pageBytes: UInt = 8_192

    /// Ends the sessions of the lane that stores events, as a failover or an administrator does. Returns how many.
    func cutIngestConnections() async throws -> Int {
        let cut = try await PostgresDatabase.asOwner(at: databaseURL) { pool in
            try await pool.query(
                .worker,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'turnpike ingest'"
            ) { row throws(PostgresError) in try row.next(Bool.self) }
        }
        return cut.filter { $0 }.count
    }
}

/// Runs what blocks where it holds up no task.
func offTheThreadPool<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Result(catching: work)) }
    }
}
