import Foundation
import TestSupport

/// nginx on the configuration that `docs/integrations.md` shows.
enum DocumentedNginx {
    private static let program = "/usr/sbin/nginx"
    static let isInstalled = FileManager.default.isExecutableFile(atPath: program)

    /// Runs it for as long as the body does, with addresses of a test.
    /// - Parameters:
    ///   - provider: the port that it passes calls on to.
    ///   - key: the key of the proxy's own.
    static func run(
        before provider: Int,
        admittedBy turnpike: TurnpikeProcess,
        key: String,
        _ body: (TestClient) async throws -> Void
    ) async throws {
        let port = try TestTools.freePort()
        try await withTemporaryDirectory { directory in
            func write(_ name: String, _ text: String) throws -> String {
                let file = directory.appendingPathComponent(name)
                try text.write(to: file, atomically: true, encoding: .utf8)
                return file.path
            }
            let keys = ["acme", "globex", "hooli"].map { "~^key-of-\($0)$ \($0);\n" }.joined()
            let subjects = try write("subjects.map", keys)
            let authorization = try write("key.conf", "proxy_set_header Authorization \"Bearer \(key)\";\n")
            var configuration = try DocumentedConfiguration(section: "nginx")
            configuration.replace([
                ("127.0.0.1:8080", "127.0.0.1:\(turnpike.port)"), ("127.0.0.1:9000", "127.0.0.1:\(provider)"),
                ("127.0.0.1:8088", "127.0.0.1:\(port)"), ("/etc/nginx/turnpike-subjects.map", subjects),
                ("/etc/nginx/turnpike-key.conf", authorization),
            ])
            let file = try write("turnpike.conf", configuration.text)
            let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map { "\($0)_temp_path \(directory.path)/\($0);" }.joined(separator: " ")
            let main = try write(
                "nginx.conf",
                """
                daemon off; master_process off; pid \(directory.path)/nginx.pid; error_log stderr;
                events {}
                http { access_log off; \(folders) include \(file); }
                """
            )
            try await withChildProcess(
                URL(fileURLWithPath: program),
                arguments: ["-e", "stderr", "-p", directory.path, "-c", main],
                environment: ["PATH": "/usr/bin:/bin"],
                directory: directory
            ) { child in
                let client = TestClient(port: port, key: nil)
                try await child.waitUntilReady(within: .seconds(20)) {
                    (try? await client.get("/").status) == 401
                }
                try await body(client)
            }
        }
    }
}
