import Foundation
import TestSupport

/// LiteLLM's proxy from PyPI, unmodified.
struct LiteLLMProxy: Sendable {
    /// Every answer of the mock model has this usage.
    static let inputTokensPerCall = 1_000
    static let outputTokensPerCall = 500

    private static let masterKey = "sk-9f2c61d07be84a35a1c4e0d86f7b3259c8e41d70"

    let client: TestClient
    let child: ChildProcess

    /// Runs one that reports its usage to a service, and makes up the model's answers.
    static func run<Result: Sendable>(
        reportingTo service: String,
        key: String,
        _ body: (LiteLLMProxy) async throws -> Result
    ) async throws -> Result {
        let config = TestTools.packageRoot.appendingPathComponent("Tests/ScenariosTests/litellm/config.yaml")
        let environment = [
            "OPENMETER_API_ENDPOINT": service,
            "OPENMETER_API_KEY": key,
            "DEFAULT_MOCK_RESPONSE_PROMPT_TOKEN_COUNT": String(inputTokensPerCall),
            "DEFAULT_MOCK_RESPONSE_COMPLETION_TOKEN_COUNT": String(outputTokensPerCall),
        ]
        return try await withTemporaryDirectory { directory in
            try await run(config, in: directory, environment: environment, body)
        }
    }

    /// Starts it, waits until it is ready, and ends it after the body.
    static func run<Result: Sendable>(
        _ config: URL,
        in directory: URL,
        environment: [String: String],
        _ body: (LiteLLMProxy) async throws -> Result
    ) async throws -> Result {
        guard let program = TestTools.installed("litellm") else {
            throw ChildProcess.Failure(description: "litellm is not installed; run scripts/test")
        }
        let port = try TestTools.freePort()
        return try await withChildProcess(
            program,
            arguments: ["--config", config.path, "--host", "127.0.0.1", "--port", String(port)],
            environment: isolated(home: directory).merging(environment) { $1 },
            directory: directory
        ) { child in
            // It does much in Python, beside tests that do much as well.
            let client = TestClient(port: port, key: masterKey, timeoutSeconds: 90)
            try await child.waitUntilReady(within: .seconds(400)) {
                (try? await client.get("/health/liveliness").status) == 200
            }
            return try await body(LiteLLMProxy(client: client, child: child))
        }
    }

    /// One chat completion; nil leaves the user out.
    func complete(user: String?) async throws {
        let member = user.map { "\"user\": \"\($0)\"," } ?? ""
        let request = "{\"model\": \"gpt-4o\", \(member) \"messages\": [{\"role\": \"user\", \"content\": \"Hello?\"}]}"
        try await client.post("/v1/chat/completions", request).expecting(200)
    }

    /// Nothing is fetched: the price list is the one in the package, and a proxy that refuses stands before the rest.
    private static func isolated(home: URL) -> [String: String] {
        let nowhere = "http://127.0.0.1:9"
        let local = "127.0.0.1,localhost"
        return [
            "PATH": "/usr/bin:/bin",
            "HOME": home.path,
            "LITELLM_MASTER_KEY": masterKey,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
            "NO_PROXY": local,
            "no_proxy": local,
        ]
    }
}
