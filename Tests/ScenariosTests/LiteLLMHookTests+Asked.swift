import Foundation
import TestSupport
import Testing
import Web

/// What the hook asks and for whom, what it tells, and how it ends.
extension LiteLLMHookTests {
    @Test("the hook asks for what a call may come to, and tells clients what is theirs", .timeLimit(.minutes(5)))
    func askedAndTold() async throws {
        let file = TestTools.packageRoot.appendingPathComponent("Tests/ScenariosTests/litellm/asked.py")
        let script = try String(contentsOf: file, encoding: .utf8)
        let expected: [Substring] = [
            "claude: max_tokens 4096, asked 4096, at least 64",
            "claude: max_tokens 8192, asked 8192, at least 4097",
            "claude: max_tokens 14096, asked 14096, at least 10001",
            "claude: max_output_tokens 6144, asked 6144, at least 2049",
            "claude: max_tokens 9000, asked 18000, at least 8194",
            "gpt: max_tokens 4096, asked 4096, at least 64",
            "thoughtful: max_tokens 14096, asked 14096, at least 10001",
            "azure: max_completion_tokens 4096, asked 4096, at least 64",
            "azure: max_output_tokens 4096, asked 4096, at least 64",
            "azure: max_tokens 5, asked 5, at least 5",
            "old-azure: max_tokens 4096, asked 4096, at least 64",
            "429 rate_limited 9: Turnpike: the call was refused: rate limited; try again in 9 s",
            "403 limit_exceeded None: Turnpike: the call was refused: limit exceeded; all allows 7 tokens in 60 s",
            """
            403 budget_exceeded None: Turnpike: the call was refused: budget exceeded; cap has 45 of 123 left in \
            this month
            """,
            "user: u", "user: u", "user: 7",
            "subjects: ours theirs", "subjects: ours None",
            "bytes: 10 ['', 'slow']",
            "label: bedrock anthropic.claude-3", "label: bedrock us.anthropic.claude-3", "label: openai o3",
            "tier taken: auto",
            "Turnpike: service_tier can't be chosen here, but for the usual one",
            "Turnpike: speed can't be chosen here, but for the usual one",
            "tier taken: auto", "tier taken: priority", "tier taken: fast",
            "allowed: 3 4096",
            "held for: None", "held for: 7200",
            "continues: 500", "continues: 12", "continues: 13", "continues: 500",
            "asked for: {'include_usage': True}", "hidden: True True", "settled: 900",
            "statuses left: []",
            """
            told: turnpike: the deployments of the model group mixed differ: limits by provider or model are asked \
            as of {'provider': 'openai', 'model': 'gpt-4o'}, not of {'provider': 'azure', 'model': 'ours'}
            """,
            #"told: turnpike: not delivered: POST /events {"id": "2"}: 0 others wait"#,
            "told: turnpike: not delivered before the process ended: the release of reservation_1",
        ]
        #expect(try await Self.runHook(script, []) == expected)
    }

    @Test(
        "keys say whose budget a call uses, and a proxy that is asked to end reports what is on its way",
        .timeLimit(.minutes(15))
    )
    func usersAndTheEnd() async throws {
        try await Self.withHook(reportsStreams: false) { turnpike, proxy in
            let client = turnpike.operatorClient
            try await Self.nameUsers(proxy)
            try await Self.think(proxy)
            try await Self.goOn(proxy, client)
            try await proxy.hangUp("drip", tokens: 200, after: "word")
            await proxy.stop()
            let cut = try await Self.balance(of: "acme", client)
            #expect((1...100).contains(cut.used) && cut.held == 0, "\(cut)")
        }
    }

    /// Answers that LiteLLM rejects count, and so does each that it gets instead, as one of the model that made it.
    /// - Returns: what is used afterwards.
    static func rejectAnswers(_ proxy: HookedProxy, _ client: TestClient, from start: Int) async throws -> Int {
        let call = #""model":"strict","max_tokens":20,"messages":[{"role":"user","content":"#
        let filtered = #"{\#(call)"filtered"}]}"#
        try await proxy.post("/v1/chat/completions", filtered).expecting(200)
        #expect(try await eventually { try await balance(of: "acme", client) == Balance(used: start + 40, held: 0) })
        #expect(try await client.get("/api/v1/events?tenant=acme").expecting(200).text.contains("gpt-4o-mini"))

        let format = #"{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","not":{}}}}"#
        let invalid = #"{\#(call)"answer"}],"response_format":\#(format)}"#
        let rejected = try await proxy.post("/v1/chat/completions", invalid)
        #expect(rejected.status >= 400 && rejected.text.contains("JSONSchemaValidationError"), "\(rejected)")
        // The proxy tries once more.
        let used = start + 80
        #expect(try await eventually { try await balance(of: "acme", client) == Balance(used: used, held: 0) })
        return used
    }

    /// Nobody gets by the budget of a user, or uses it up, by what is written in a call.
    private static func nameUsers(_ proxy: HookedProxy) async throws {
        let bob = #","user":"bob""#
        let alice = #","user":"alice""#
        try await proxy.call("answer", tokens: 1, team: "umbrella.bob", more: alice).expecting(200)
        try await proxy.call("answer", tokens: 1, team: "umbrella", more: alice).expecting(200)
        try await proxy.call("answer", tokens: 1, team: "umbrella.alice", more: bob).expecting(200)
        try await proxy.call("answer", tokens: 1, team: "umbrella.alice", more: bob).expecting(429)
    }

    /// A call that may think gets room for an answer beside, or is refused.
    private static func think(_ proxy: HookedProxy) async throws {
        let said = #""messages":[{"role":"user","content":"answer"}]"#
        let calls = [
            ("/v1/chat/completions", #""reasoning_effort":"high""#, 8_192),
            ("/v1/messages", #""thinking":{"type":"enabled","budget_tokens":10000}"#, 14_096),
        ]
        for (path, thinking, bound) in calls {
            let body = #"{"model":"claude",\#(thinking),\#(said)}"#
            try await proxy.post(path, body, team: "umbrella").expecting(200)
            #expect(try await proxy.bounds().last == bound, "\(path)")
            let made = try await proxy.bounds().count
            #expect(try await proxy.post(path, body).expecting(403).text.contains("quota exceeded"), "\(path)")
            #expect(try await proxy.bounds().count == made, "\(path)")
        }
    }

    /// A response counts what it continues among its input.
    private static func goOn(_ proxy: HookedProxy, _ client: TestClient) async throws {
        let said = #""model":"best","input":"answer","max_output_tokens":20"#
        let first = try await proxy.post("/v1/responses", "{\(said)}", team: "initech").expecting(200)
        let name = try #require(first.json["id"]?.string)
        let isReported = try await eventually {
            try await client.get("/api/v1/events?tenant=initech").expecting(200).json["data"]?.elements?.count == 1
        }
        #expect(isReported)
        let rest = try await tokensLeft(client)
        let next = #"{\#(said),"previous_response_id":"\#(name)"}"#
        try await proxy.post("/v1/responses", next, team: "initech").expecting(200)
        let taken = rest - (try await tokensLeft(client))
        // A thousand were read before, and twenty answered.
        #expect((1_040...1_045).contains(taken), "\(taken)")
    }
}
