import Logging
package import Postgres
package import TurnpikeServer
package import Web

/// The whole service in this process, on a loopback port, with a clock that stands still.
package struct TestServer: Sendable {
    package let database: TestDatabase
    package let clock: TestClock
    package let log: TestLog
    package let configuration: Configuration
    package let operations: [Operation]
    package let port: Int
    private let server: Server

    package static let operatorKey = "tpk_operator_0123456789abcdefghijklmnopqrstuvwxyz"

    package static let masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    package static let issuer = "https://turnpike.test"

    /// Runs a server on a database of its own while `body` does, then stops it and drops the database.
    package static func run<Result: Sendable>(
        clock: TestClock = TestClock(),
        configure: (inout Configuration) -> Void = { _ in },
        _ body: (TestServer) async throws -> Result
    ) async throws -> Result {
        try await TestDatabase.with { database in
            try await run(on: database, clock: clock, configure: configure, body)
        }
    }

    /// The same on a database that outlives the server, for what must survive a restart.
    package static func run<Result: Sendable>(
        on database: TestDatabase,
        clock: TestClock = TestClock(),
        configure: (inout Configuration) -> Void = { _ in },
        _ body: (TestServer) async throws -> Result
    ) async throws -> Result {
        var configuration = try Configuration(
            environment: [
                "DATABASE_URL": database.url, "TURNPIKE_PORT": "0", "TURNPIKE_OPERATOR_KEY": operatorKey,
                "TURNPIKE_MIGRATE": "false", "TURNPIKE_AUTH_FAILURES_PER_ADDRESS": "1000000",
                "TURNPIKE_AUTH_FAILURES_PER_CREDENTIAL": "1000000",
                "TURNPIKE_MASTER_KEY": masterKey, "TURNPIKE_ISSUER": issuer,
                // The machine of a test may be busy.
                "TURNPIKE_ADMISSION_DEADLINE_MS": "20000",
            ]
        )
        configure(&configuration)
        SecretWatch.shared.register(operatorKey)
        SecretWatch.shared.register(passwordIn: configuration.databaseURL)
        let log = TestLog()
        let logger = log.logger(level: .debug)
        let (ports, listening) = AsyncStream<Int>.makeStream()
        let server = Server.build(configuration, logger: logger, clock: clock.clock) { port in
            listening.yield(port)
        }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { listening.finish() }
                try await server.run()
            }
            guard let port = await ports.first(where: { _ in true }) else {
                try await group.waitForAll()
                throw ServerEndedEarly(log: log.text)
            }
            let running = TestServer(
                database: database,
                clock: clock,
                log: log,
                configuration: configuration,
                operations: server.operations,
                port: port,
                server: server
            )
            let result: Result
            do {
                result = try await body(running)
            } catch {
                await server.stop()
                try await group.waitForAll()
                throw error
            }
            try await running.requireNoSecretsInRows()
            await server.stop()
            try await group.waitForAll()
            try SecretWatch.shared.inspect(log.text, place: "the log")
            try SecretWatch.shared.inspect(PrometheusRegistry.process.exposition(), place: "the metrics")
            return result
        }
    }

    /// The audit log shows resources as they were answered, without what was shown once. A test may have taken the
    /// database away.
    private func requireNoSecretsInRows() async throws {
        let rows = try? await server.pool.query(
            .worker,
            """
            SELECT concat_ws(' ', action, resource_key, before::text, after::text) FROM audit_log
            ORDER BY occurred_at DESC, audit_id DESC LIMIT 2000
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
        try SecretWatch.shared.inspect((rows ?? []).joined(separator: "\n"), place: "the audit log")
    }

    package struct ServerEndedEarly: Error {
        package let log: String
    }

    /// How often a connection of a lane was taken.
    package func leases(of lane: PostgresLane) -> UInt64 { server.pool.statistics(of: lane).leases }

    /// A client without a credential.
    package var anonymous: TestClient { TestClient(port: port, key: nil) }
    /// A client with every scope.
    package var operatorClient: TestClient { TestClient(port: port, key: Self.operatorKey) }

    /// A client with a new key of these scopes, bound to the tenant if one is named.
    package func client(_ scopes: [Scope], tenant: String? = nil) async throws -> TestClient {
        anonymous.with(key: try await makeKey(scopes, tenant: tenant))
    }

    /// The text of a new key.
    package func makeKey(_ scopes: [Scope], tenant: String? = nil) async throws -> String {
        let names = scopes.map { "\"\($0.rawValue)\"" }.joined(separator: ",")
        let bound = tenant.map { "\"\($0)\"" } ?? "null"
        let answer = try await operatorClient.post(
            "/api/v1/api-keys",
            #"{"name": "test", "scopes": [\#(names)], "tenant": \#(bound)}"#
        )
        guard let key = answer.json["key"]?.string else { throw UnexpectedAnswer(answer: answer) }
        return key
    }

    /// Begins the graceful shutdown, for tests of it.
    package func stop() async {
        await server.stop()
    }
}

/// An answer that the arrangement of a test can't go on with.
package struct UnexpectedAnswer: Error, CustomStringConvertible {
    package let answer: TestResponse

    package init(answer: TestResponse) {
        self.answer = answer
    }

    package var description: String { "unexpected answer: \(answer)" }
}
