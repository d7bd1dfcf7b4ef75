import Foundation
import TestSupport
import Web

/// A LiteLLM proxy with Turnpike's hook, in front of a provider that does what it is told.
struct HookedProxy: Sendable {
    private let client: TestClient
    private let provider: TestClient
    private let child: ChildProcess

    /// Starts both, waits until they are ready, and ends them after the body.
    /// - Parameters:
    ///   - settings: of the hook, beside address and key.
    ///   - reportsStreams: whether LiteLLM tells the hook what a stream has used.
    static func run(
        admittedBy service: String,
        key: String,
        settings: [String: String] = [:],
        reportsStreams: Bool = true,
        _ body: (HookedProxy) async throws -> Void
    ) async throws {
        guard let python = TestTools.installed("python") else {
            throw ChildProcess.Failure(description: "the virtual environment is not there; run scripts/test")
        }
        let files = TestTools.packageRoot.appendingPathComponent("Tests/ScenariosTests/litellm")
        let hook = TestTools.packageRoot.appendingPathComponent("integrations/litellm/turnpike_hook.py")
        let provider = TestClient(port: try TestTools.freePort(), key: nil)
        try await withTemporaryDirectory { directory in
            for file in [files.appendingPathComponent("teams.py"), files.appendingPathComponent("hooked.yaml"), hook] {
                try FileManager.default.copyItem(at: file, to: directory.appendingPathComponent(file.lastPathComponent))
            }
            try await withChildProcess(
                python,
                arguments: [files.appendingPathComponent("upstream.py").path, String(provider.port)],
                environment: ["PATH": "/usr/bin:/bin"],
                directory: directory
            ) { child in
                try await child.waitUntilReady(within: .seconds(30)) {
                    (try? await provider.get("/bounds").status) == 200
                }
                let config = directory.appendingPathComponent("hooked.yaml")
                if !reportsStreams {
                    let silent = "litellm_settings:\n  disable_streaming_logging: true\n"
                    let text = try String(contentsOf: config, encoding: .utf8)
                        .replacing("litellm_settings:\n", with: silent)
                    try text.write(to: config, atomically: true, encoding: .utf8)
                }
                let environment = [
                    "PROVIDER_URL": "http://127.0.0.1:\(provider.port)/v1",
                    "MESSAGES_URL": "http://127.0.0.1:\(provider.port)",
                    "OPENAI_API_BASE": "http://127.0.0.1:\(provider.port)/v1", "OPENAI_API_KEY": "unused",
                    "TURNPIKE_URL": service, "TURNPIKE_API_KEY": key, "TURNPIKE_TIMEOUT_SECONDS": "20",
                ]
                try await LiteLLMProxy.run(
                    config,
                    in: directory,
                    environment: environment.merging(settings) { $1 }
                ) { proxy in
                    try await body(HookedProxy(client: proxy.client, provider: provider, child: proxy.child))
                }
            }
        }
    }

    /// One chat completion of a team, which tells the provider what to do.
    @discardableResult
    func call(
        _ told: String,
        tokens: Int,
        team: String = "acme",
        more: String = ""
    ) async throws -> TestResponse {
        try await post("/v1/chat/completions", Self.body(told, tokens, more), team: team)
    }

    /// One call of a team, or of a user of it (`team.user`), in the form of any API, on a connection of its own: the
    /// proxy ends idle ones after as long as a call that failed is held.
    func post(_ path: String, _ body: String, team: String = "acme") async throws -> TestResponse {
        let caller = client.with(key: "sk-\(team)-key")
        return try await caller.post(path, body, headers: ["Connection": "close"])
    }

    /// Begins a stream and leaves it when the text has come.
    func hangUp(_ told: String, tokens: Int, after text: String) async throws {
        let body = Self.body(told, tokens, #","stream":true"#)
        let connection = try RawConnection(port: client.port)
        try connection.send(
            """
            POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-acme-key\r\n\
            Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)
            """
        )
        _ = await connection.answer(until: text)
    }

    /// Asks the proxy to end, and waits until it has.
    func stop() async { await child.stop() }

    /// The bounds of the calls that have reached the provider.
    func bounds() async throws -> [Int] {
        try await provider.get("/bounds").expecting(200).json.elements?.compactMap { $0.number.flatMap { Int($0) } }
            ?? []
    }

    private static func body(_ told: String, _ tokens: Int, _ more: String) -> String {
        #"{"model":"best","max_tokens":\#(tokens),"messages":[{"role":"user","content":"\#(told)"}]\#(more)}"#
    }
}
