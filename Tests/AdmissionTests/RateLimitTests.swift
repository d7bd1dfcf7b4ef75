import BillingCore
import Limits
import Postgres
import TestSupport
import Testing
import Web

/// Rates, and the check for reverse proxies.
@Suite struct RateLimitTests {
    private static func arrange(_ server: TestServer, scope: String, burst: Int = 10) async throws {
        try await server.addTenant("acme")
        try await server.addTenant("beta")
        try await server.ask(
            "POST",
            "/budgets",
            """
            {"key":"rpm","scope":\(scope),"measure":"requests","rate":{"limit":60,"period":"minute","burst":\(burst)}}
            """,
            expecting: 201
        )
    }

    /// A tenant with a rate of its own.
    private static func addRate(_ server: TestServer, _ rate: String, of measure: String) async throws {
        try await server.addTenant("acme")
        let budget = #"{"key":"r","scope":{"tenant":"acme"},"measure":"\#(measure)","rate":\#(rate)}"#
        try await server.ask("POST", "/budgets", budget, expecting: 201)
    }

    @Test("calls beyond the burst are refused with the fields of the draft, and pass again after a time")
    func refusal() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, scope: #"{"tenant":"acme"}"#, burst: 2)
            let critical = #","criticality":"critical""#
            for index in 1...2 {
                #expect(try await server.admit("\(index)", more: critical)["allowed"] == .bool(true))
            }
            let body = #"{"subject":"acme","type":"job.done","source":"gw","id":"3","criticality":"critical"}"#
            let refused = try await server.operatorClient.post("/api/v1/admissions", body).expecting(200)
            #expect(refused.json["reason"]?.string == "rate_limited")
            #expect(refused.header("Retry-After") == "1")
            #expect(refused.header("RateLimit") == #""rpm";r=0;t=1"#)
            #expect(refused.header("RateLimit-Policy") == #""rpm";q=60;w=60"#)
            server.clock.advance(seconds: 1)
            #expect(try await server.admit("3", more: critical)["allowed"] == .bool(true))
            #expect(try await server.admit("4", subject: "beta")["allowed"] == .bool(true))
        }
    }

    @Test("a change of pace waits for no call that is being decided by the pace of before, and keeps what it uses")
    func changeOfPace() async throws {
        try await TestServer.run { server in
            try await Self.addRate(server, #"{"limit":7,"period":"hour","burst":60}"#, of: "requests")
            let now = server.clock.now
            let row = try await server.withPool { pool in
                try await pool.query(.worker, "SELECT tenant_id, limit_id FROM budget") { row throws(PostgresError) in
                    LimitRow(tenant: try row.next(), limit: try row.next(), windowStart: Interval.allTime.start)
                }
            }[0]
            let pace = GenericCellRate(limit: 7, periodMicroseconds: 3_600_000_000, burst: 60)
            try await server.withPool { pool in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        // Sixty calls that are decided, and committed only when the change is.
                        try await pool.transaction(.worker) { transaction in
                            var use = RateUse(row: row, interval: pace.interval)
                            use.duration = try pace.duration(of: FixedDecimal(60))
                            try transaction.execute(RateStateStore.advance([use], at: now))
                            try transaction.execute(
                                """
                                DO $$ BEGIN
                                    FOR look IN 1..3000 LOOP
                                        EXIT WHEN EXISTS (SELECT FROM budget WHERE rate_limit = 6000);
                                        PERFORM pg_sleep(0.01);
                                    END LOOP;
                                END $$
                                """
                            )
                        }
                    }
                    #expect(try await server.comesToHave("RowExclusiveLock", on: "rate_state"))
                    let faster = #"{"rate":{"limit":6000,"burst":6000}}"#
                    try await server.ask("PATCH", "/budgets/r", faster)
                    try await group.waitForAll()
                }
            }
            try await server.rowsFollowBudgets()
            func remaining() async throws -> String? {
                try await server.ask("GET", "/budgets/r")["status"]?["rates"]?[0]?["remaining"]?.number
            }
            #expect(try await remaining() == "5940")
            // Decided at once, and after a refusal one by one, by what was used at another pace.
            try await server.admit("1", more: #","criticality":"critical""#)
            #expect(try await remaining() == "5939")
            try await server.changeBudget("r", #"{"rate":{"limit":7,"burst":62}}"#)
            try await server.admit("2", more: #","criticality":"critical""#)
            #expect(try await remaining() == "0")
            try await server.changeBudget("r", #"{"rate":{"limit":11}}"#)
            #expect(try await server.admit("3", more: #","criticality":"critical""#)["allowed"] == .bool(false))
            #expect(try await server.admit("3", more: #","criticality":"critical""#)["allowed"] == .bool(false))
            #expect(try await remaining() == "0")
        }
    }

    @Test("what is used of a rate drains at the pace in force as soon as that changes, whether anybody asks or not")
    func drainsAtOnce() async throws {
        try await TestServer.run { server in
            let critical = #","criticality":"critical""#
            try await Self.addRate(server, #"{"limit":1,"period":"day","burst":2}"#, of: "requests")
            for index in 1...2 { try await server.admit("\(index)", more: critical) }
            try await server.changeBudget("r", #"{"rate":{"limit":86400}}"#)
            server.clock.advance(seconds: 1)
            #expect(try await server.admit("3", more: critical)["allowed"] == .bool(true))
            #expect(try await server.admit("4", more: critical)["retry_after"]?.number == "1")
            // Slower: what is used comes back so much later.
            try await server.changeBudget("r", #"{"rate":{"limit":24}}"#)
            server.clock.advance(seconds: 3_600)
            #expect(try await server.admit("5", more: critical)["allowed"] == .bool(true))
            #expect(try await server.admit("6", more: critical)["retry_after"]?.number == "3600")
        }
    }

    @Test("a wait of hundreds of thousands of years is told like any other")
    func longestWait() async throws {
        try await TestServer.run { server in
            try await Self.addRate(server, #"{"limit":1,"period":"day","burst":1000000000000}"#, of: "tokens")
            let critical = #","criticality":"critical""#
            let all = try await server.admit("1", more: critical, data: #","input_tokens":1000000000000"#)
            #expect(all["allowed"] == .bool(true))
            let refused = try await server.admit("2", more: critical, data: #","input_tokens":1000000000"#)
            #expect(refused["reason"]?.string == "rate_limited")
            let wait = refused["retry_after"]?.number.flatMap { Int64($0) } ?? 0
            #expect(wait > 9_000_000_000_000, "\(refused)")
            let status = try await server.ask("GET", "/budgets/r")["status"]
            #expect(status?["rates"]?[0]?["remaining"]?.number == "0")
            #expect(status?["rates"]?[0]?["full_at"]?.string == "9999-12-31T23:59:59.999999Z")
        }
    }

    @Test("where a rate and a budget refuse, the budget is the reason, and the status says the same")
    func withBudget() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, scope: #"{"tenant":"acme"}"#, burst: 2)
            let budget = """
                {"key":"daily","scope":{"tenant":"*"},"measure":"requests","amount":"2","window":"day","mode":"hard"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let critical = #","criticality":"critical""#
            for index in 1...2 { try await server.admit("\(index)", more: critical) }
            let refused = try await server.admit("3", more: critical)
            #expect(refused["reason"]?.string == "budget_exceeded")
            #expect(refused["limits"]?.elements?.map { $0["key"]?.string } == ["daily", "rpm"])
            let headers = [
                "X-Turnpike-Subject": "acme", "X-Turnpike-Type": "job.done",
                "Content-Type": "multipart/form-data; boundary=x",
            ]
            let answer = try await server.operatorClient.post("/api/v1/admissions/check", headers: headers)
                .expecting(403)
            #expect(answer.header("X-Turnpike-Reason") == "budget_exceeded")
        }
    }

    @Test("as an operator-wide rate gets short, the less important calls are refused before the others")
    func criticality() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, scope: "{}", burst: 20)
            var passed: [String: Int] = [:]
            for criticality in ["sheddable", "default", "critical"] {
                for index in 0..<20 {
                    let answer = try await server.admit(
                        "\(criticality)-\(index)",
                        more: #","criticality":"\#(criticality)""#
                    )
                    if answer["allowed"] == .bool(true) { passed[criticality, default: 0] += 1 }
                }
            }
            #expect(passed == ["sheddable": 16, "default": 3, "critical": 1])
        }
    }

    @Test("two replicas together let through no more than one would")
    func replicas() async throws {
        let clock = TestClock()
        try await TestServer.run(clock: clock) { first in
            try await TestServer.run(on: first.database, clock: clock) { second in
                try await Self.arrange(first, scope: #"{"tenant":"*"}"#, burst: 20)
                let passed = try await withThrowingTaskGroup(of: Bool.self) { group in
                    for index in 0..<60 {
                        let server = index.isMultiple(of: 2) ? first : second
                        group.addTask {
                            try await server.admit("\(index)", more: #","criticality":"critical""#)["allowed"]
                                == .bool(true)
                        }
                    }
                    return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                }
                #expect(passed == 20)
            }
        }
    }

    @Test("each rate tells its own time to wait, and the answer the longest")
    func times() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, scope: #"{"tenant":"acme"}"#, burst: 1)
            let daily =
                #"{"key":"daily","scope":{"tenant":"acme"},"measure":"requests","rate":{"limit":1,"period":"day"}}"#
            try await server.ask("POST", "/budgets", daily, expecting: 201)
            try await server.admit("1", more: #","criticality":"critical""#)
            let body = #"{"subject":"acme","type":"job.done","source":"gw","id":"2","criticality":"critical"}"#
            let refused = try await server.operatorClient.post("/api/v1/admissions", body).expecting(200)
            let fields = refused.header("RateLimit") ?? ""
            #expect(fields.contains(#""rpm";r=0;t=1,"#) || fields.hasSuffix(#""rpm";r=0;t=1"#), "\(fields)")
            #expect(fields.contains(#""daily";r=0;t=86400"#), "\(fields)")
            #expect(refused.header("Retry-After") == "86400")
        }
    }

    @Test("a rate whose pace changes keeps how much is used of it")
    func pace() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, scope: #"{"tenant":"*"}"#, burst: 10)
            for index in 1...6 { try await server.admit("\(index)", more: #","criticality":"critical""#) }
            func remaining() async throws -> String? {
                try await server.ask("GET", "/budgets/rpm")["status"]?["rates"]?[0]?["remaining"]?.number
            }
            #expect(try await remaining() == "4")
            for limit in [7, 60, 6_000, 60] {
                try await server.changeBudget("rpm", #"{"rate":{"limit":\#(limit)}}"#)
                #expect(try await remaining() == "4", "\(limit)")
            }
            try await server.changeBudget("rpm", #"{"rate":{"burst":100}}"#)
            #expect(try await remaining() == "94")
        }
    }

    @Test("a token rate counts input and output together")
    func tokens() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.ask(
                "POST",
                "/budgets",
                """
                {"key":"tpm","scope":{"tenant":"acme"},"measure":"tokens",\
                "rate":{"limit":1000,"period":"minute","burst":1000}}
                """,
                expecting: 201
            )
            func ask(_ id: String) async throws -> JSONValue {
                let body = """
                    {"subject":"acme","type":"llm.completion","source":"gw","id":"\(id)","criticality":"critical",\
                    "data":{"model":"m","input_tokens":300,"output_tokens":200}}
                    """
                return try await server.ask("POST", "/admissions", body)
            }
            #expect(try await ask("1")["limits"]?[0]?["rate"]?["remaining"]?.number == "500")
            #expect(try await ask("2")["allowed"] == .bool(true))
            #expect(try await ask("3")["retry_after"]?.number == "30")
            let headers = [
                "X-Turnpike-Subject": "acme", "X-Turnpike-Type": "llm.completion", "X-Turnpike-Model": "m",
                "X-Turnpike-Input-Tokens": "300", "X-Turnpike-Output-Tokens": "200",
            ]
            let check = try await server.operatorClient.get("/api/v1/admissions/check", headers: headers)
            #expect(check.header("RateLimit-Policy") == #""tpm";q=1000;qu="tokens";w=60"#)
        }
    }

    @Test(
        "a budget that is a rate shows what is left of it, and when it is full again, of those with rows for each too"
    )
    func status() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server, scope: #"{"tenant":"acme"}"#)
            let each =
                #"{"key":"each","scope":{"tenant":"*"},"measure":"requests","rate":{"limit":60,"period":"minute"}}"#
            try await server.ask("POST", "/budgets", each, expecting: 201)
            let unused = try await server.ask("GET", "/budgets/rpm")["status"]
            #expect(
                unused?.text == """
                    {"rates":[{"full_at":null,"remaining":10,"scope":{"tenant":"acme"}}],"truncated":false,"windows":[]}
                    """
            )
            let none = #"{"rates":[],"truncated":false,"windows":[]}"#
            #expect(try await server.ask("GET", "/budgets/each")["status"]?.text == none)
            for index in 1...3 { try await server.admit("\(index)", more: #","criticality":"critical""#) }
            try await server.admit("b", more: #","criticality":"critical""#, subject: "beta")
            let listed = try await server.ask("GET", "/budgets?measure=requests")["data"]?.elements ?? []
            let shown = listed.map { $0["status"]?["rates"]?.elements?.map { $0["scope"]?.text ?? "" } ?? [] }
            #expect(shown.contains([#"{"tenant":"acme"}"#, #"{"tenant":"beta"}"#]), "\(shown)")
            server.clock.advance(seconds: 1)
            let used = try await server.ask("GET", "/budgets/rpm")["status"]?["rates"]?[0]
            #expect(used?["remaining"]?.number == "8")
            #expect(used?["full_at"]?.string == "2026-11-23T08:00:03.000000Z")
            let own = try await server.client([.budgetsRead], tenant: "acme")
            let asTenant = try await server.ask("GET", "/budgets/rpm", as: own)["status"]?["rates"]?[0]
            #expect(asTenant == used)
            server.clock.advance(seconds: 3_600)
            #expect(try await server.ask("GET", "/budgets/rpm")["status"] == unused)
            #expect(try await server.ask("GET", "/budgets/each")["status"]?.text == none)
        }
    }

    @Test("a proxy's check answers in status and fields, uses rates, and holds only where it reserves")
    func check() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("0")
            try await server.ask(
                "POST",
                "/budgets",
                """
                {"key":"rpm","scope":{"tenant":"acme"},"measure":"requests",\
                "rate":{"limit":2,"period":"hour","burst":2}}
                """,
                expecting: 201
            )
            let client = server.operatorClient
            func check(_ query: String = "", _ headers: [String: String] = [:]) async throws -> TestResponse {
                let call = ["X-Turnpike-Subject": "acme", "X-Turnpike-Criticality": "critical"]
                return try await client.get(
                    "/api/v1/admissions/check\(query)",
                    headers: call.merging(headers) { $1 }
                )
            }
            let reserved = try await check("", ["X-Turnpike-Reserve": "true", "X-Turnpike-Id": "r1"]).expecting(204)
            let id = reserved.header("X-Turnpike-Reservation-Id") ?? ""
            #expect(try await server.ask("GET", "/admissions/\(id)")["status"]?.string == "held")
            let plain = try await check("?admit_with=200").expecting(200)
            #expect(plain.text.isEmpty)
            #expect(plain.header("X-Turnpike-Reservation-Id") == nil)
            let limited = try await check().expecting(429)
            #expect(limited.header("X-Turnpike-Limit") == "rpm")
            #expect(limited.header("Retry-After") == "1800")
            let nginx = try await check("?deny_with=403").expecting(403)
            #expect(nginx.header("X-Turnpike-Status") == "429")
            let unknown = try await check("", ["X-Turnpike-Subject": "nobody"]).expecting(403)
            #expect(unknown.header("X-Turnpike-Reason") == "unknown_subject")
            let faults = [
                "X-Turnpike-Output-Tokens": "abc", "X-Turnpike-Ttl-Seconds": "0", "X-Turnpike-Reserve": "yes",
            ]
            // Not the id of the request, which the client may have chosen.
            let nameless = try await check("", ["X-Turnpike-Reserve": "true", "X-Request-Id": "r1"]).expecting(400)
            #expect(nameless.pointers == ["X-Turnpike-Id"])
            for (name, value) in faults {
                let fault = try await check("", [name: value]).expecting(400)
                #expect(fault.json["errors"]?[0]?["pointer"]?.string == name)
            }
            let headers = ["X-Turnpike-Subject": "acme"]
            let posted = try await client.post("/api/v1/admissions/check", headers: headers).expecting(429)
            #expect(posted.header("X-Turnpike-Limit") == "rpm")
        }
    }
}
