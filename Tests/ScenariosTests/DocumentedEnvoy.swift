import Foundation
import TestSupport

/// Envoy on the configuration that `docs/integrations.md` shows.
enum DocumentedEnvoy {
    static let program = TestTools.installed("envoy")

    /// Runs it for as long as the body does, with addresses of a test and a third tenant's key.
    /// - Parameters:
    ///   - provider: the port that it passes calls on to.
    ///   - key: the key of the proxy's own.
    static func run(
        before provider: Int,
        admittedBy turnpike: TurnpikeProcess,
        key: String,
        _ body: (TestClient) async throws -> Void
    ) async throws {
        guard let program else {
            throw ChildProcess.Failure(description: "envoy is not installed; run scripts/test")
        }
        let port = try TestTools.freePort()
        var configuration = try DocumentedConfiguration(section: "Envoy")
        configuration.replace([
            ("http://127.0.0.1:8080", "http://127.0.0.1:\(turnpike.port)"),
            ("port_value: 8080", "port_value: \(turnpike.port)"), ("port_value: 9000", "port_value: \(provider)"),
            ("port_value: 8089", "port_value: \(port)"), ("tpk_...", key),
            (
                "- { key: key-of-globex, client: globex }",
                "- { key: key-of-globex, client: globex }\n"
                    + String(repeating: " ", count: 24) + "- { key: key-of-hooli, client: hooli }"
            ),
        ])
        try await withTemporaryDirectory { directory in
            let file = directory.appendingPathComponent("envoy.yaml")
            try configuration.text.write(to: file, atomically: true, encoding: .utf8)
            try await withChildProcess(
                program,
                // Several at once on a machine are told apart by the number.
                arguments: ["-c", file.path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"],
                environment: ["PATH": "/usr/bin:/bin"],
                directory: directory
            ) { child in
                let client = TestClient(port: port, key: nil)
                try await child.waitUntilReady(within: .seconds(60)) {
                    (try? await client.get("/").status) == 401
                }
                try await body(client)
            }
        }
    }
}
