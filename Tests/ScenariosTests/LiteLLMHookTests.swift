import Foundation
import TestSupport
import Testing
import Web

/// A LiteLLM proxy that asks before every call: `integrations/litellm/turnpike_hook.py`.
@Suite(.enabled(if: TestTools.isCI || TestTools.installed("litellm") != nil, "litellm is not installed"))
struct LiteLLMHookTests {
    @Test("every call of a proxy is admitted before and settled or released afterwards", .timeLimit(.minutes(15)))
    func callsAreAdmittedAndSettled() async throws {
        try await Self.withHook { turnpike, proxy in
            try await Self.useQuota(proxy, turnpike.operatorClient)
            try await Self.refuse(proxy, turnpike.operatorClient)
            await turnpike.child.stop()
            let closed = try await proxy.call("answer", tokens: 1).expecting(503)
            #expect(closed.json["error"]?["message"]?.string?.contains("can't be asked now") == true)
        }
    }

    @Test(
        "the hook counts a stream that LiteLLM is silent about, and lets calls pass without Turnpike where told to",
        .timeLimit(.minutes(15))
    )
    func silentStreamsAndOpenFailure() async throws {
        let settings = ["TURNPIKE_ON_FAILURE": "open", "TURNPIKE_SUBJECT": "request,team_id"]
        try await Self.withHook(settings, reportsStreams: false) { turnpike, proxy in
            let client = turnpike.operatorClient
            try await proxy.hangUp("drip", tokens: 200, after: "word")
            let cut = try await Self.balance(of: "acme", client)
            #expect((1...100).contains(cut.used) && cut.held == 0, "\(cut)")
            let claimed = try await proxy.call("answer", tokens: 1, more: #","user":"nobody""#).expecting(403)
            #expect(claimed.text.contains("unknown subject"))
            await turnpike.child.stop()
            try await proxy.call("answer", tokens: 1).expecting(200)
        }
    }

    @Test("the hook counts a call however it ends and whatever its client writes", .timeLimit(.minutes(15)))
    func everyEndIsCounted() async throws {
        // Users that clients name are to be reported, too.
        let settings = ["TURNPIKE_ON_FAILURE": "open", "TURNPIKE_USER": "user_id,request"]
        try await Self.withHook(settings) { turnpike, proxy in
            let client = turnpike.operatorClient
            // The second attempt takes longer than the hook waits for a report after the end of a call.
            try await proxy.call("late", tokens: 100).expecting(200)
            #expect(try await Self.balance(of: "acme", client) == Balance(used: 100, held: 0))
            let rejected = try await Self.rejectAnswers(proxy, client, from: 100)
            let used = try await Self.tearStreams(proxy, client, from: rejected)
            try await Self.writeAnything(proxy, client, from: used)
            try await Self.refuseUncounted(proxy)
            try await Self.sendAnything(proxy, client)
        }
    }

    @Test("a hard limit on a model holds by whichever API it is called", .timeLimit(.minutes(15)))
    func modelsAreLimited() async throws {
        try await Self.withHook { turnpike, proxy in
            let client = turnpike.operatorClient
            let said = #""messages":[{"role":"user","content":"answer"}]"#
            let calls = [
                ("chat/completions", #""max_tokens":20,\#(said)"#),
                ("completions", #""max_tokens":20,"prompt":"answer""#),
                ("responses", #""max_output_tokens":20,"input":"answer""#),
                ("messages", #""max_tokens":20,\#(said)"#),
            ]
            for (number, (path, body)) in calls.enumerated() {
                try await proxy.post("/v1/\(path)", #"{"model":"words",\#(body)}"#, team: "hooli").expecting(200)
                let used = try await Self.wordsUsed(client)
                #expect(used == Balance(used: 20 * (number + 1), held: 0), "\(path)")
            }
            try await Self.streamText(proxy, client, from: 80)
            func rest(of model: String) async throws -> TestResponse {
                let body = #"{"model":"\#(model)","max_tokens":5000,"prompt":"answer"}"#
                return try await proxy.post("/v1/completions", body, team: "hooli")
            }
            try await rest(of: "words").expecting(200)
            #expect(try await proxy.bounds().last == 80)
            #expect(try await Self.wordsUsed(client) == Balance(used: 200, held: 0))
            // The model group, the id of its deployment, and the name that another deployment's provider has for it.
            for name in ["words", "words-1", "gpt-3.5-turbo-instruct"] {
                #expect(try await rest(of: name).expecting(403).text.contains("budget exceeded"), "\(name)")
            }
        }
    }

    @Test("what an answer does not count is counted from what it says", .timeLimit(.minutes(15)))
    func silentAnswersAreCounted() async throws {
        try await Self.withHook { turnpike, proxy in
            let said = #""max_tokens":100,"messages":[{"role":"user","content":"silent"}]"#
            // Five words; a chat completion thinks five more, and calls a tool.
            let calls = [
                ("chat/completions", #""model":"best",\#(said)"#, 15...40),
                ("completions", #""model":"words","max_tokens":100,"prompt":"silent""#, 4...6),
                ("responses", #""model":"best","max_output_tokens":100,"input":"silent""#, 4...6),
                ("messages", #""model":"best",\#(said)"#, 4...6),
                ("messages", #""model":"claude",\#(said)"#, 4...6),
            ]
            var used = 0
            for (path, body, expected) in calls {
                for stream in body.contains("claude") ? [""] : ["", #","stream":true"#] {
                    try await proxy.post("/v1/\(path)", "{\(body)\(stream)}").expecting(200)
                    let now = try await Self.balance(of: "acme", turnpike.operatorClient)
                    #expect(expected.contains(now.used - used) && now.held == 0, "\(path)\(stream): \(now), \(used)")
                    used = now.used
                }
            }
        }
    }

    @Test("the hook counts once what the last event of a response says again", .timeLimit(.minutes(5)))
    func repeatedTextIsCountedOnce() async throws {
        let script = """
            from turnpike_hook import Call
            said = "word word word word word"
            message = {"type": "message", "content": [{"type": "output_text", "text": said}]}
            tool = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at": "word"}'}
            thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": said}]}
            whole = {"output": [thought, message, tool]}
            delta = {"type": "response.output_text.delta", "delta": said}
            streamed, answered = [Call("acme", {}, {"model": "gpt-4o"}, 7) for _ in range(2)]
            for event in [delta, {"type": "response.completed", "response": whole}]:
                streamed.saw(event)
            answered.saw(whole)
            print(streamed.counted_by("gpt-4o") == answered.counted_by("gpt-4o"), streamed.counted_by("gpt-4o"))
            """
        let lines = try await Self.runHook(script, [])
        let expected = /True {'input_tokens': 7, 'output_tokens': (\d+)}/
        let counted = try #require(lines.last?.wholeMatch(of: expected), "\(lines)")
        #expect(Int(counted.1).map { (15...20).contains($0) } == true, "\(lines)")
    }

    @Test(
        "wrong keys and what can't be counted are refused, lost answers given back, hanging deliveries in no one's way",
        .timeLimit(.minutes(5))
    )
    func hookAlone() async throws {
        let file = TestTools.packageRoot.appendingPathComponent("Tests/ScenariosTests/litellm/alone.py")
        let script = try String(contentsOf: file, encoding: .utf8)
        let expected: [Substring] = [
            """
            refused: _arealtime _aresponses_websocket acompact_responses acreate_interaction \
            acreate_realtime_client_secret acreate_realtime_transcription_session acreate_response_reply acreate_run \
            adecisions agenerate_content agenerate_content_stream aingest allm_passthrough_route arealtime_calls \
            asend_message asystemone avector_store_search pass_through_endpoint
            """,
            "closed: 500 too_many_authentication_failures", "open: 500 too_many_authentication_failures",
            "500: 503 limits_unavailable, asked 2", "502: 503 limits_unavailable, asked 2",
            "503: 503 limits_unavailable, asked 2", "504: 503 limits_unavailable, asked 2",
            "408: 503 limits_unavailable, asked 1", "429: 503 limits_unavailable, asked 1",
            "hanging: allowed 0",
        ]
        try await TurnpikeProcess.run(settings: ["TURNPIKE_AUTH_FAILURES_PER_CREDENTIAL": "1"]) { turnpike in
            let client = turnpike.operatorClient
            try await Self.configure(client)
            let key = try await turnpike.makeKey(scopes: ["admissions:write", "events:write"])
            let told = try await Self.runHook(script, [turnpike.baseURL, key])
            #expect(told == expected)
            #expect(try await Self.balance(of: "acme", client) == Balance(used: 0, held: 0))
        }
    }

    @Test("the hook names the setting that is wrong, and does not load", .timeLimit(.minutes(5)))
    func wrongSettingsAreNamed() async throws {
        let script = """
            from turnpike_hook import _PROXY_TurnpikeHook
            for given in sys.argv[1:]:
                name, value = given.split("=", 1)
                try:
                    _PROXY_TurnpikeHook({**good, name: value})
                    print("taken:", given)
                except ValueError as told:
                    print(told)
            """
        let wrong = [
            "TURNPIKE_URL=turnpike.example", "TURNPIKE_URL=https://turnpike.example?x", "TURNPIKE_API_KEY=",
            "TURNPIKE_ON_FAILURE=ajar", "TURNPIKE_SUBJECT=team", "TURNPIKE_USER=name", "TURNPIKE_TIMEOUT_SECONDS=nan",
            "TURNPIKE_UNCOUNTED_CALLS=no", "TURNPIKE_OUTPUT_TOKENS=0", "TURNPIKE_MIN_OUTPUT_TOKENS=1e3",
            "TURNPIKE_RESERVATION_SECONDS=86401", "TURNPIKE_CONTINUED_TOKENS=-1", "TURNPIKE_SERVICE_TIERS=no",
        ]
        let told = try await Self.runHook(script, wrong)
        #expect(told.count == wrong.count, "\(told)")
        for (setting, line) in zip(wrong, told) {
            let name = setting.prefix { $0 != "=" }
            #expect(line.hasPrefix("turnpike_hook: ") && line.contains(name), "\(setting): \(line)")
        }
    }

    /// Runs a script beside the hook, which has the settings `good` in its environment.
    /// - Returns: the lines that it writes.
    static func runHook(_ script: String, _ arguments: [String]) async throws -> [Substring] {
        let python = try #require(TestTools.installed("python"), "run scripts/test: it makes the environment")
        let beginning = """
            import os, sys
            sys.path.insert(0, "integrations/litellm")
            good = {"TURNPIKE_URL": "http://[::1]:8080/base/", "TURNPIKE_API_KEY": "key"}
            os.environ.update(good, LITELLM_LOCAL_MODEL_COST_MAP="True")
            sys.dont_write_bytecode = True

            """
        // LiteLLM takes its time to load.
        let output = try await TestTools.run(
            python.path,
            ["-c", beginning + script] + arguments,
            in: TestTools.packageRoot,
            within: .seconds(240)
        )
        return output.split(separator: "\n").filter { !$0.contains("LiteLLM") }
    }

    /// Runs a proxy with the hook in front of a Turnpike that limits two teams.
    static func withHook(
        _ settings: [String: String] = [:],
        reportsStreams: Bool = true,
        _ body: (TurnpikeProcess, HookedProxy) async throws -> Void
    ) async throws {
        try await TurnpikeProcess.run { turnpike in
            try await configure(turnpike.operatorClient)
            let key = try await turnpike.makeKey(scopes: ["admissions:write", "events:write"])
            try await HookedProxy.run(
                admittedBy: turnpike.baseURL,
                key: key,
                settings: settings,
                reportsStreams: reportsStreams
            ) { try await body(turnpike, $0) }
        }
    }

    /// Streams of text, which the provider counts at their end when it is asked to.
    private static func streamText(_ proxy: HookedProxy, _ client: TestClient, from start: Int) async throws {
        var used = start
        for (asked, isTold) in [("", false), (#","stream_options":{"include_usage":true}"#, true)] {
            let body = #"{"model":"words","max_tokens":20,"prompt":"answer","stream":true\#(asked)}"#
            let streamed = try await proxy.post("/v1/completions", body, team: "hooli").expecting(200).text
            #expect(streamed.contains("word word") && streamed.hasSuffix("data: [DONE]\n\n"))
            #expect(streamed.contains(#""usage":"#) == isTold, "\(streamed)")
            used += 20
            #expect(try await wordsUsed(client) == Balance(used: used, held: 0))
        }
    }

    /// Streams that call tools and end with an error.
    /// - Returns: what is used afterwards.
    private static func tearStreams(_ proxy: HookedProxy, _ client: TestClient, from start: Int) async throws -> Int {
        let said = #""messages":[{"role":"user","content":"torn"}]"#
        let calls = [
            ("/v1/chat/completions", #"{"model":"best","max_tokens":100,"stream":true,\#(said)}"#),
            ("/v1/messages", #"{"model":"claude","max_tokens":100,"stream":true,\#(said)}"#),
            ("/v1/responses", #"{"model":"best","max_output_tokens":100,"stream":true,"input":"torn"}"#),
        ]
        var used = start
        for (path, body) in calls {
            _ = try await proxy.post(path, body)
            let torn = try await balance(of: "acme", client)
            #expect((used + 5...used + 100).contains(torn.used) && torn.held == 0, "\(path): \(torn)")
            used = torn.used
        }
        return used
    }

    /// What a client writes neither gets by the limits nor keeps its usage from being counted.
    private static func writeAnything(_ proxy: HookedProxy, _ client: TestClient, from start: Int) async throws {
        let long = String(repeating: "\u{E9}", count: 200)
        try await proxy.call("answer", tokens: 20, more: #","user":42"#).expecting(200)
        try await proxy.call("answer", tokens: 20, more: #","user":"\#(long)""#).expecting(200)
        try await proxy.call("answer", tokens: 20, more: #","no-log":true"#).expecting(200)
        #expect(try await balance(of: "acme", client) == Balance(used: start + 60, held: 0))

        let routed = try await useRouters(proxy, client, from: start + 60)
        try await refuseUnbounded(proxy)
        let bound = #""max_output_tokens":5000,"max_completion_tokens":1"#
        try await proxy.post("/v1/responses", #"{"model":"best","input":"answer",\#(bound)}"#).expecting(200)
        #expect(try await proxy.bounds().last == 1_000 - routed)
        #expect(try await balance(of: "acme", client) == Balance(used: 1_000, held: 0))
    }

    /// What LiteLLM calls on its own behalf counts by itself, and no router raises what was admitted.
    /// - Returns: what is used afterwards.
    private static func useRouters(_ proxy: HookedProxy, _ client: TestClient, from start: Int) async throws -> Int {
        let said = #""messages":[{"role":"user","content":"answer"}]"#
        // A client's own mark changes nothing.
        for forged in ["", #","metadata":{"is_silent_experiment":true,"internal_call_origin":"x"}"#] {
            let body = #"{"model":"ours","max_tokens":10,\#(said)\#(forged)}"#
            try await proxy.post("/v1/chat/completions", body).expecting(200)
        }
        #expect(try await balance(of: "acme", client) == Balance(used: start + 20, held: 0))
        try await proxy.post("/v1/chat/completions", #"{"model":"smart","max_tokens":30,\#(said)}"#).expecting(200)
        #expect(try await proxy.bounds().last == 30)
        #expect(try await balance(of: "acme", client) == Balance(used: start + 50, held: 0))
        try await proxy.post("/v1/chat/completions", #"{"model":"shadowed","max_tokens":20,\#(said)}"#).expecting(200)
        let used = start + 90
        #expect(try await eventually { try await balance(of: "acme", client) == Balance(used: used, held: 0) })
        return used
    }

    /// Calls that would use more than is held of them reach no provider.
    private static func refuseUnbounded(_ proxy: HookedProxy) async throws {
        let made = try await proxy.bounds().count
        let said = #""max_tokens":1,"messages":[{"role":"user","content":"answer"}]"#
        for models in [#""best,best,best""#, #""best,best","fastest_response":true"#, #""best,again""#, #"["best"]"#] {
            let several = try await proxy.post("/v1/chat/completions", #"{"model":\#(models),\#(said)}"#)
            #expect(several.status == 400 && several.text.contains("model"), "\(models): \(several)")
        }
        let format = #"{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","not":{}}}}"#
        let hidden = [
            #""extra_body":{"max_tokens":5000}"#,
            #""extra_body":{"max_tokens":null}"#,
            #""extra_body":{"generationConfig":{"maxOutputTokens":60000}}"#,
            #""extra_body":{"settings":[{"candidateCount":8}]}"#,
            #""generationConfig":{"maxOutputTokens":60000}"#,
            #""fallbacks":[{"best":[{"model":"best","additional_drop_params":["max_tokens"]}]}]"#,
            #""additional_drop_params":[".max_tokens"]"#,
            #""additional_drop_params":["max_tokens."]"#,
            #""context_window_fallbacks":[{"best":[{"model":"best","max_tokens":60000}]}]"#,
            #""fallbacks":["claude"]"#,
            #""custom_llm_provider":"hosted_vllm""#,
            #""specific_deployment":true"#,
            #""router_settings_override":{"context_window_fallbacks":[{"best":["claude"]}]}"#,
            #""extra_body":{"stream_options":{"include_usage":false}}"#,
            #""extra_body":{"stream_options":null}"#,
            #""extra_body":{"background":true}"#,
            #""router_settings_override":{"fallbacks":[{"best":[{"model":"best","max_tokens":60000}]}]}"#,
            #""extra_body":{"model":"o1-pro"}"#,
            #""extra_body":{"extra_body":{"models":["o1-pro"]}}"#,
            #""model_id":"o1-pro""#,
            #""deployment_id":"o1-pro""#,
            #""models":["o1-pro"],"route":"fallback""#,
            #""enable_json_schema_validation":true,"response_format":\#(format)"#,
            #""response_format":{"type":"json_object","response_schema":{},"enforce_validation":true}"#,
            #""extra_body":{"enable_json_schema_validation":true}"#,
            #""stream":true,"additional_drop_params":["stream_options"]"#,
            #""combined_usage_object":{}"#,
            #""litellm_params":{"metadata":{}}"#,
            #""extra_body":{"combined_usage_object":null}"#,
            #""num_retries":9"#,
            #""max_retries":9"#,
            #""service_tier":"priority""#,
            #""extra_body":{"serviceTier":{"type":"priority"}}"#,
            #""performanceConfig":{"latency":"optimized"}"#,
        ]
        for member in hidden {
            let refused = try await proxy.call("answer", tokens: 1, more: ",\(member)")
            #expect(refused.status == 400 && refused.text.contains("Turnpike"), "\(member): \(refused)")
        }
        let later = #"{"model":"best","input":"answer","max_output_tokens":20,"background":true}"#
        #expect(try await proxy.post("/v1/responses", later).status == 400)
        let embedded = #"{"model":"best","input":"answer","extra_body":{"model":"o1-pro"}}"#
        #expect(try await proxy.post("/v1/embeddings", embedded).status == 400)
        #expect(try await proxy.bounds().count == made)
    }

    /// Nor do those that can't be counted, also where LiteLLM calls no hook before the call.
    private static func refuseUncounted(_ proxy: HookedProxy) async throws {
        let made = try await proxy.bounds().count
        let said = #""max_tokens":20,"messages":[{"role":"user","content":"answer"}]"#
        let store = #"{"vector_store_id":"vs_1","custom_llm_provider":"openai"}"#
        let mcp = #"{"type":"mcp","server_label":"ours","server_url":"litellm_proxy","require_approval":"never"}"#
        let advisor = #"{"type":"advisor_20260301","name":"advisor","model":"claude"}"#
        let search = #"{"type":"file_search","vector_store_ids":["vs_1"]}"#
        let calls = [
            ("/v1beta/models/best:generateContent", #"{"contents":[{"role":"user","parts":[{"text":"answer"}]}]}"#),
            ("/v1beta/interactions", #"{"model":"best","input":"answer"}"#),
            ("/v1/realtime/client_secrets", #"{"model":"best"}"#),
            ("/openai/v1/chat/completions", #"{"model":"gpt-4o",\#(said)}"#),
            ("/vllm/chat/completions", #"{"model":"best",\#(said)}"#),
            ("/queue/chat/completions", #"{"model":"best","priority":0,\#(said)}"#),
            ("/v1/rag/query", #"{"model":"best","retrieval_config":\#(store),\#(said)}"#),
            ("/v1/chat/completions", #"{"model":"best","tools":[\#(mcp)],\#(said)}"#),
            ("/v1/chat/completions", #"{"model":"best","stream":true,"tools":[\#(mcp)],\#(said)}"#),
            ("/v1/responses", #"{"model":"best","input":"answer","tools":[\#(mcp)]}"#),
            ("/v1/messages", #"{"model":"claude","tools":[\#(mcp)],\#(said)}"#),
            ("/v1/messages", #"{"model":"best","tools":[\#(advisor)],\#(said)}"#),
            ("/v1/responses", #"{"model":"claude","input":"answer","tools":[\#(search)]}"#),
        ]
        for (path, body) in calls {
            let refused = try await proxy.post(path, body, team: "initech")
            #expect(refused.status == 400 && refused.text.contains("can't be counted"), "\(path): \(refused)")
        }
        #expect(try await proxy.bounds().count == made)
        // These tools the client runs, or the provider.
        let others = [
            ("/v1/chat/completions", "\(said),", mcp.replacing("never", with: "always")),
            ("/v1/chat/completions", "\(said),", mcp.replacing("litellm_proxy", with: "https://mcp.example/sse")),
            ("/v1/responses", #""input":"answer","#, search),
        ]
        for (path, input, tool) in others {
            let body = #"{"model":"best",\#(input)"tools":[\#(tool)]}"#
            try await proxy.post(path, body, team: "initech").expecting(200)
        }
    }

    /// Input of every kind makes no call fail, and is taken for about what it is. A rate tells for what: it counts a
    /// call's input and the bound of its output, and gives nothing back.
    private static func sendAnything(_ proxy: HookedProxy, _ client: TestClient) async throws {
        let data = String(repeating: "iVBORw0K", count: 8_000)
        let audio = #"{"type":"input_audio","input_audio":{"data":"\#(data)","format":"wav"}}"#
        let image = #"{"type":"input_image","image_url":"data:image/png;base64,\#(data)"}"#
        let used = #"{"id":"call_1","type":"custom","custom":{"name":"look","input":"there"}}"#
        let tool = #"{"name":"look","parameters":{"properties":{"places":{"type":"array"}}}}"#
        let schema = #"{"n":{"type":"integer"},"stream":{"type":"string"},"model":{"type":"string"}}"#
        let choices = #""candidate_count":3,"extra_body":{"schema":\#(schema)}"#
        let answer = #"{"role":"user","content":"answer"}"#
        let chat = #"{"model":"best","max_tokens":20,"messages":["#
        let calls: [(path: String, body: String, taken: ClosedRange<Int>)] = [
            ("chat/completions", #"\#(chat){"role":"user","content":[\#(text("text")),\#(audio)]}]}"#, 270...290),
            ("chat/completions", #"\#(chat){"role":"assistant","tool_calls":[\#(used)]},\#(answer)]}"#, 25...60),
            ("chat/completions", #"\#(chat)\#(answer)],"tools":[{"type":"function","function":\#(tool)}]}"#, 25...60),
            ("chat/completions", #"\#(chat)\#(answer)],\#(choices)}"#, 65...75),
            (
                "responses",
                #"""
                {"model":"best,again","max_output_tokens":20,
                 "input":[{"role":"user","content":[\#(text("input_text")),\#(image)]}]}
                """#,
                270...290
            ),
            ("embeddings", #"{"model":"best","input":[\#([Int](100_000..<101_000))]}"#, 999...1_001),
        ]
        var rest = try await tokensLeft(client)
        for (path, body, expected) in calls {
            try await proxy.post("/v1/\(path)", body, team: "initech").expecting(200)
            let left = try await tokensLeft(client)
            #expect(expected.contains(rest - left), "\(path): \(rest - left), not \(expected): \(body.prefix(200))")
            rest = left
        }
    }

    private static func text(_ type: String) -> String { #"{"type":"\#(type)","text":"answer"}"# }

    /// How many tokens initech has left.
    static func tokensLeft(_ client: TestClient) async throws -> Int {
        let budget = try await client.get("/api/v1/budgets/initech-tokens").expecting(200).json
        return budget["status"]?["rates"]?[0]?["remaining"]?.number.flatMap { Int($0) } ?? 0
    }

    /// Uses 1,000 tokens of acme's quota, some of them in each way in which a call can go.
    private static func useQuota(_ proxy: HookedProxy, _ client: TestClient) async throws {
        try await proxy.call("answer", tokens: 100).expecting(200)
        #expect(try await balance(of: "acme", client) == Balance(used: 100, held: 0))
        try await proxy.call("answer", tokens: 50, more: #","n":2"#).expecting(200)
        #expect(try await balance(of: "acme", client) == Balance(used: 200, held: 0))

        let streamed = try await proxy.call("answer", tokens: 50, more: #","stream":true"#).expecting(200)
        #expect(streamed.text.hasSuffix("data: [DONE]\n\n"))
        #expect(try await balance(of: "acme", client) == Balance(used: 250, held: 0))

        try await proxy.call("broken", tokens: 100).expecting(500)
        #expect(try await balance(of: "acme", client) == Balance(used: 250, held: 0))
        try await proxy.call("flaky", tokens: 100).expecting(200)
        #expect(try await balance(of: "acme", client) == Balance(used: 350, held: 0))

        try await proxy.hangUp("drip", tokens: 200, after: "word")
        let cut = try await balance(of: "acme", client)
        #expect((351...450).contains(cut.used) && cut.held == 0, "\(cut)")

        // More than what is left: the provider hears of what is.
        try await proxy.call("answer", tokens: 5_000).expecting(200)
        #expect(try await proxy.bounds().last == 1_000 - cut.used)
        #expect(try await balance(of: "acme", client) == Balance(used: 1_000, held: 0))
    }

    private static func refuse(_ proxy: HookedProxy, _ client: TestClient) async throws {
        let asked = try await proxy.bounds().count
        let refused = try await proxy.call("answer", tokens: 1).expecting(403)
        let message = refused.json["error"]?["message"]?.string ?? ""
        #expect(message.contains("quota exceeded") && message.contains("0 of 1000 left"), "\(message)")

        try await proxy.call("answer", tokens: 1, team: "globex").expecting(200)
        let limited = try await proxy.call("answer", tokens: 1, team: "globex").expecting(429)
        #expect(limited.header("Retry-After").flatMap { Int($0) }.map { (1...3_600).contains($0) } == true)
        let unknown = try await proxy.call("answer", tokens: 1, team: "nobody").expecting(403)
        #expect(unknown.json["error"]?["message"]?.string?.contains("unknown subject") == true)
        #expect(try await proxy.bounds().count == asked + 1)
        #expect(try await balance(of: "acme", client) == Balance(used: 1_000, held: 0))
    }

    struct Balance: Equatable {
        let used: Int
        let held: Int
    }

    /// What a tenant's quota says when nothing is held any more, or a while has passed.
    static func balance(of tenant: String, _ client: TestClient) async throws -> Balance {
        try await settled {
            try await client.get("/api/v1/tenants/\(tenant)/quotas").expecting(200).json["data"]?[0]
        }
    }

    /// What the budget of hooli says when nothing is held any more, or a while has passed.
    private static func wordsUsed(_ client: TestClient) async throws -> Balance {
        try await settled {
            try await client.get("/api/v1/budgets/words").expecting(200).json["status"]?["windows"]?[0]
        }
    }

    private static func settled(_ limit: () async throws -> JSONValue?) async throws -> Balance {
        var seen = Balance(used: -1, held: -1)
        _ = try await eventually(within: .seconds(30)) {
            let limit = try await limit()
            seen = Balance(
                used: limit?["used"]?.string.flatMap { Int($0) } ?? -1,
                held: limit?["held"]?.string.flatMap { Int($0) } ?? -1
            )
            return seen.held == 0
        }
        return seen
    }

    /// Acme has a thousand output tokens. Of the two calls that globex may make at once, one is kept for critical ones.
    /// Initech has a hundred thousand tokens, and gets another one an hour. Hooli has two hundred output tokens of a
    /// model. Of umbrella's users alice may make as many calls as globex.
    private static func configure(_ client: TestClient) async throws {
        let requests = [
            ("/tenants", #"{"key": "acme", "name": "Acme", "currency": "USD"}"#),
            ("/tenants", #"{"key": "globex", "name": "Globex", "currency": "USD"}"#),
            ("/tenants", #"{"key": "initech", "name": "Initech", "currency": "USD"}"#),
            ("/tenants", #"{"key": "hooli", "name": "Hooli", "currency": "USD"}"#),
            ("/tenants", #"{"key": "umbrella", "name": "Umbrella", "currency": "USD"}"#),
            (
                "/meters",
                #"{"key": "tokens", "event_type": "llm.completion", "aggregation": "sum", "value": "output_tokens"}"#
            ),
            ("/features", #"{"key": "tokens", "name": "Tokens", "meter": "tokens", "unit": "token"}"#),
            ("/plans", #"{"key": "small", "name": "Small", "currency": "USD"}"#),
            (
                "/plans/small/versions",
                """
                {"interval": "month", "quotas": [{"feature": "tokens", "limit": "1000", "window": "billing_period",
                 "mode": "hard", "overage": "denied"}]}
                """
            ),
            (
                "/budgets",
                """
                {"key": "hourly", "scope": {"tenant": "globex", "model": "gpt-4o", "provider": "openai"},
                 "measure": "requests", "rate": {"limit": 2, "period": "hour", "burst": 2}}
                """
            ),
            (
                "/budgets",
                """
                {"key": "alice", "scope": {"tenant": "umbrella", "user": "alice"}, "measure": "requests",
                 "rate": {"limit": 2, "period": "hour", "burst": 2}}
                """
            ),
            (
                "/budgets",
                """
                {"key": "initech-tokens", "scope": {"tenant": "initech"}, "measure": "tokens",
                 "rate": {"limit": 1, "period": "hour", "burst": 100000}}
                """
            ),
            (
                "/budgets",
                """
                {"key": "words", "scope": {"tenant": "hooli", "feature": "tokens", "provider": "openai",
                                           "model": "gpt-3.5-turbo-instruct"},
                 "measure": "units", "amount": "200", "window": "month", "mode": "hard"}
                """
            ),
        ]
        for (path, body) in requests { try await client.post("/api/v1\(path)", body).expecting(201) }
        try await client.post("/api/v1/plans/small/versions/1/publish").expecting(200)
        let subscription = #"{"tenant": "acme", "plan": "small", "version": 1}"#
        try await client.post("/api/v1/subscriptions", subscription).expecting(201)
    }
}
