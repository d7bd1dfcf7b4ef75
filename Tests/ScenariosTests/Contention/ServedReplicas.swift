import Foundation
import Postgres
import TestSupport

/// Several `turnpike serve` on one database, each a process of its own that a test may kill and start again under its
/// address.
actor ServedReplicas {
    nonisolated let database: TestDatabase
    nonisolated let ports: [Int]
    private let settings: [String: String]
    private let directory: URL
    private var children: [ChildProcess] = []

    static func run<Result: Sendable>(
        count: Int,
        settings: [String: String],
        _ body: (ServedReplicas) async throws -> Result
    ) async throws -> Result {
        try await TestDatabase.with { database in
            try await withTemporaryDirectory { directory in
                let replicas = try ServedReplicas(database, count: count, settings: settings, directory: directory)
                do {
                    try await replicas.start()
                    let result = try await body(replicas)
                    await replicas.stop()
                    return result
                } catch {
                    let output = await replicas.output().suffix(4_000)
                    await replicas.stop()
                    throw ChildProcess.Failure(description: "\(error)\n\(output)")
                }
            }
        }
    }

    private init(_ database: TestDatabase, count: Int, settings: [String: String], directory: URL) throws {
        self.database = database
        ports = try (0..<count).map { _ in try TestTools.freePort() }
        self.settings = settings
        self.directory = directory
    }

    nonisolated func client(_ replica: Int) -> TestClient {
        TestClient(port: ports[replica], key: TurnpikeProcess.operatorKey)
    }

    private func start() async throws {
        for replica in ports.indices {
            children.append(try launch(replica))
            try await waitUntilReady(replica)
        }
    }

    /// Kills one with signal 9, starts it again and waits until it is ready.
    func crash(_ replica: Int) async throws {
        await children[replica].crash()
        _ = try await children[replica].exitCode(within: .seconds(10))
        children[replica] = try launch(replica)
        try await waitUntilReady(replica)
    }

    private func launch(_ replica: Int) throws -> ChildProcess {
        guard let binary = TestTools.turnpikeBinary else {
            throw ChildProcess.Failure(description: "turnpike is not built; run `swift build --build-tests`")
        }
        let environment = [
            "PATH": "/usr/bin:/bin", "DATABASE_URL": database.url, "TURNPIKE_PORT": String(ports[replica]),
            "TURNPIKE_OPERATOR_KEY": TurnpikeProcess.operatorKey, "TURNPIKE_MIGRATE": "false",
            "TURNPIKE_MASTER_KEY": TestServer.masterKey,
        ]
        return try ChildProcess(
            binary,
            arguments: ["serve"],
            environment: environment.merging(settings) { $1 },
            directory: directory
        )
    }

    private func waitUntilReady(_ replica: Int) async throws {
        let probe = TestClient(port: ports[replica], key: nil)
        try await children[replica].waitUntilReady(within: .seconds(60)) {
            (try? await probe.get("/readyz").status) == 200
        }
    }

    private func stop() async {
        for child in children { await child.stop() }
    }

    private func output() async -> String {
        var output = ""
        for child in children { output += await child.output() }
        return output
    }
}
