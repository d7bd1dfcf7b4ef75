package import Foundation

/// The built `turnpike serve` as a process of its own, on a fresh database: what users run, seen from outside.
package struct TurnpikeProcess: Sendable {
    package static let operatorKey = "tpk_testoperator_0123456789abcdef0123456789abcdef"

    package let child: ChildProcess
    package let port: Int

    package var baseURL: String { "http://127.0.0.1:\(port)" }

    /// A client with every scope.
    package var operatorClient: TestClient { TestClient(port: port, key: Self.operatorKey) }
    /// A client without a credential.
    package var anonymous: TestClient { TestClient(port: port, key: nil) }

    /// The text of a new key that is bound to no tenant.
    package func makeKey(scopes: [String]) async throws -> String {
        struct Created: Decodable { let key: String }
        let names = scopes.map { "\"\($0)\"" }.joined(separator: ", ")
        let answer = try await operatorClient.post("/api/v1/api-keys", "{\"name\": \"test\", \"scopes\": [\(names)]}")
        return try answer.expecting(201).decoded(Created.self).key
    }

    /// Starts it on an empty database, waits until it is ready, and ends both after the body.
    package static func run<Result: Sendable>(
        settings: [String: String] = [:],
        _ body: (TurnpikeProcess) async throws -> Result
    ) async throws -> Result {
        guard let binary = TestTools.turnpikeBinary else {
            throw ChildProcess.Failure(description: "turnpike is not built; run `swift build --build-tests`")
        }
        return try await withTemporaryDirectory { directory in
            try await EmptyDatabase.use(directory: directory) { url in
                let port = try TestTools.freePort()
                var environment = [
                    "PATH": "/usr/bin:/bin",
                    "DATABASE_URL": url,
                    "TURNPIKE_HOST": "127.0.0.1",
                    "TURNPIKE_PORT": String(port),
                    "TURNPIKE_OPERATOR_KEY": operatorKey,
                    "TURNPIKE_MASTER_KEY": TestServer.masterKey,
                    "TURNPIKE_ADMISSION_DEADLINE_MS": "10000",
                ]
                environment.merge(settings) { $1 }
                return try await withChildProcess(
                    binary,
                    arguments: ["serve"],
                    environment: environment,
                    directory: TestTools.packageRoot,
                    logDirectory: directory
                ) { child in
                    let turnpike = TurnpikeProcess(child: child, port: port)
                    let client = turnpike.anonymous
                    try await child.waitUntilReady(within: .seconds(60)) {
                        (try? await client.get("/readyz").status) == 200
                    }
                    SecretWatch.shared.register(operatorKey)
                    let result = try await body(turnpike)
                    try SecretWatch.shared.inspect(await child.output(), place: "the output of turnpike")
                    return result
                }
            }
        }
    }
}

/// A database that exists for as long as a body runs, made with psql on the cluster of `TURNPIKE_TEST_DATABASE_URL`.
package enum EmptyDatabase {
    package static func use<Result: Sendable>(
        directory: URL,
        _ body: (String) async throws -> Result
    ) async throws -> Result {
        guard let cluster = ProcessInfo.processInfo.environment["TURNPIKE_TEST_DATABASE_URL"],
            var components = URLComponents(string: cluster)
        else {
            throw ChildProcess.Failure(description: "TURNPIKE_TEST_DATABASE_URL is not set; run scripts/test")
        }
        let name = "turnpike_\(UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "_"))"
        components.path = "/\(name)"
        let url = components.string ?? cluster
        try await psql(cluster, "CREATE DATABASE \(name)", directory: directory)
        do {
            let result = try await body(url)
            try await psql(cluster, "DROP DATABASE \(name) WITH (FORCE)", directory: directory)
            return result
        } catch {
            try? await psql(cluster, "DROP DATABASE \(name) WITH (FORCE)", directory: directory)
            throw error
        }
    }

    private static func psql(_ url: String, _ command: String, directory: URL) async throws {
        try await withChildProcess(
            URL(fileURLWithPath: "/usr/bin/psql"),
            arguments: ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command=\(command)", url],
            environment: ["PATH": "/usr/bin:/bin"],
            directory: directory
        ) { child in
            let code = try await child.exitCode(within: .seconds(60))
            guard code == 0 else {
                throw ChildProcess.Failure(description: "psql: \(await child.outputTail())")
            }
        }
    }
}
