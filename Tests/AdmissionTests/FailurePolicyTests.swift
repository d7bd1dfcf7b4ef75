import Admission
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Postgres

/// What admission answers when the database can't be asked.
@Suite struct FailurePolicyTests {
    @Test("hard limits are closed and soft ones open while their rows can't be had in time, and both say so")
    func policies() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.deadlineMilliseconds = 2_000
        }) { server in
            for (tenant, mode) in [("acme", "hard"), ("beta", "soft")] {
                try await Self.addTenant(tenant, mode, server)
                try await Self.admit("before-\(tenant)", of: tenant, server)
            }
            func unavailable(_ answered: String) async throws -> Int {
                try await server.counterValue(#"turnpike_admissions_unavailable_total{answered="\#(answered)"}"#)
            }
            let before = (closed: try await unavailable("closed"), open: try await unavailable("open"))
            try await server.whileLocked("limit_state") {
                let closed = try await server.admit("1", subject: "acme", expecting: 503)
                #expect(closed["code"]?.string == "limits_unavailable")
                let open = try await server.admit("2", data: #","output_tokens":7"#, subject: "beta")
                #expect(open["allowed"] == .bool(true) && open["max_output_tokens"]?.number == "7")
                #expect(open["reservation"] == .null)
                #expect(open["warnings"]?.text == #"["limits_unavailable"]"#)
            }
            #expect(try await unavailable("closed") > before.closed)
            #expect(try await unavailable("open") > before.open)
            // Nothing stays held of what nobody waited for.
            let isFree = try await eventually { try await server.limitRows() == ["0 1 0", "0 1 0"] }
            #expect(isFree)
        }
    }

    @Test(
        "what is committed after its caller was told that nothing is held is taken back, and not where he was refused"
    )
    func committedLate() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.deadlineMilliseconds = 1_000
        }) { server in
            for (tenant, mode) in [("acme", "hard"), ("beta", "soft")] {
                try await Self.addTenant(tenant, mode, server)
                try await Self.admit("before-\(tenant)", of: tenant, server)
            }
            let before = try await server.counterValue("turnpike_admissions_taken_back_total")
            try await server.letCommitsWait(afterInsertsInto: "reservation")
            try await server.whileLocked("slow_commit") {
                let open = try await server.admit("late-open", subject: "beta")
                #expect(open["allowed"] == .bool(true) && open["reservation"] == .null)
            }
            let ids: SQL = "SELECT admission_id FROM reservation ORDER BY admission_id"
            let isTakenBack = try await eventually(within: .seconds(20)) {
                let count = try await server.counterValue("turnpike_admissions_taken_back_total")
                let left = try await server.column(ids)
                return count > before && left == ["before-acme", "before-beta"]
            }
            #expect(isTakenBack)
            try await server.whileLocked("slow_commit") {
                try await server.admit("late-closed", subject: "acme", expecting: 503)
            }
            let isCommitted = try await eventually(within: .seconds(20)) {
                try await server.column(ids).contains("late-closed")
            }
            #expect(isCommitted)
            let again = try await server.admit("late-closed", subject: "acme")
            #expect(again["allowed"] == .bool(true) && again["reservation"] != .null)
            // Its id has named nothing yet.
            #expect(try await server.admit("late-open", subject: "beta")["reservation"] != .null)
            try await server.expectRows(["0 2 0", "0 2 0"])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test(
        "a tenant whose row somebody has locked for long holds up no other tenant on its lane, and goes on afterwards"
    )
    func rowLockedForLong() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.lanes = 1
            configuration.admission.deadlineMilliseconds = 1_000
        }) { server in
            for tenant in ["acme", "beta"] {
                try await Self.addTenant(tenant, "hard", server)
                try await Self.admit("before", of: tenant, server)
            }
            try await server.ask("PATCH", "/budgets/beta", #"{"amount":"100"}"#)
            let holders: SQL = """
                SELECT pid::text FROM pg_locks WHERE relation = 'limit_state'::regclass AND mode = 'RowShareLock'
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                """
            try await server.whileLocked(by: Self.acmesRow) {
                let before = try await server.column(holders)
                let asking = Task {
                    var count = 0
                    while !Task.isCancelled {
                        try await server.admit("stuck-\(count)", subject: "acme", expecting: 503)
                        count += 1
                    }
                }
                defer { asking.cancel() }
                for id in 1...6 { try await Self.admit("beside-\(id)", of: "beta", server) }
                let left = try await server.column(holders)
                #expect(before.count == 1 && left.contains(before[0]), "acme's row is locked still")
            }
            try await Self.admit("after", of: "acme", server)
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test(
        "of calls that are decided together only those are not that touch a row which somebody has locked, or makes",
        arguments: [false, true]
    )
    func rowLockedAmongOthers(isBeingMade: Bool) async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.lanes = 1
            configuration.admission.deadlineMilliseconds = isBeingMade ? 8_000 : 4_000
        }) { server in
            let tenants = (10..<40).map { "t\($0)" }
            for tenant in ["acme"] + tenants { try await server.addTenant(tenant) }
            for (key, scope) in [("each", #"{"tenant":"*"}"#), ("all", "{}")] {
                let bound = #""measure":"requests","amount":"10000","window":"day""#
                let budget = #"{"key":"\#(key)","scope":\#(scope),\#(bound)}"#
                try await server.ask("POST", "/budgets", budget, expecting: 201)
            }
            func admit(_ id: String) async throws -> [String] {
                try await Self.reasons(id, of: (["acme"] + tenants).map { (tenant: $0, model: "m") }, server)
            }
            #expect(try await admit("before").allSatisfy { $0 == "allowed" })
            // On the next day nobody's row is there.
            if isBeingMade { server.clock.advance(seconds: 86_400) }
            try await server.whileLocked(by: isBeingMade ? Self.acmesNextRow : Self.acmesRow) {
                for id in 1...3 {
                    let reasons = try await admit("\(id)")
                    #expect(reasons.first == "limits_unavailable")
                    #expect(reasons.dropFirst().allSatisfy { $0 == "allowed" }, "\(reasons)")
                }
            }
            var count = 0
            let isFree = try await eventually {
                count += 1
                return try await admit("after-\(count)").first == "allowed"
            }
            #expect(isFree)
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("a row of the operator's that somebody has locked stops those who touch it, also where their own are new")
    func operatorsRowLocked() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.lanes = 1
            configuration.admission.deadlineMilliseconds = 4_000
        }) { server in
            let tenants = (10..<30).map { "t\($0)" }
            for tenant in tenants { try await server.addTenant(tenant) }
            for (key, scope, window) in [("each", #"{"tenant":"*"}"#, "day"), ("models", #"{"model":"*"}"#, "month")] {
                let bound = #""measure":"requests","amount":"10000","window":"\#(window)""#
                let budget = #"{"key":"\#(key)","scope":\#(scope),\#(bound)}"#
                try await server.ask("POST", "/budgets", budget, expecting: 201)
            }
            func admit(_ id: String, other: String) async throws -> [String] {
                let calls = tenants.enumerated().map { (tenant: $1, model: $0 == 0 ? other : "busy") }
                return try await Self.reasons(id, of: calls, server)
            }
            #expect(try await admit("before", other: "known").allSatisfy { $0 == "allowed" })
            server.clock.advance(seconds: 86_400)
            try await server.whileLocked(by: "SELECT FROM limit_state WHERE scope_value = 'busy' FOR UPDATE") {
                for (id, other) in [("1", "new"), ("2", "newer"), ("3", "known")] {
                    let reasons = try await admit(id, other: other)
                    #expect(reasons.first == "allowed", "\(reasons)")
                    #expect(reasons.dropFirst().allSatisfy { $0 == "limits_unavailable" }, "\(reasons)")
                }
            }
            var count = 0
            let isFree = try await eventually {
                count += 1
                return try await admit("after-\(count)", other: "known").allSatisfy { $0 == "allowed" }
            }
            #expect(isFree)
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("where a billing period can't be made in time, the limits of a tenant that is known say what holds")
    func periodsAreWaitedForNoLonger() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.deadlineMilliseconds = 2_000
        }) { server in
            try await server.arrangeQuota("100")
            try await server.addTenant("beta")
            try await server.publish(
                #"{"quotas":[{"feature":"seconds","limit":"5","window":"billing_period","mode":"soft"}]}"#,
                as: "soft"
            )
            try await server.subscribe("beta", to: "soft", at: "2026-11-01T00:00:00Z")
            try await server.addTenant("gamma")
            for tenant in ["acme", "beta"] { try await Self.admit("november-\(tenant)", of: tenant, server) }
            server.clock.advance(seconds: 31 * 86_400)
            try await server.whileLocked("billing_period") {
                let closed = try await server.admit("december", expecting: 503)
                #expect(closed["code"]?.string == "limits_unavailable")
                let open = try await server.admit("december", subject: "beta")
                #expect(open["allowed"] == .bool(true))
                #expect(open["warnings"]?.text == #"["limits_unavailable"]"#)
                // Nobody has asked for it before.
                try await server.admit("december", subject: "gamma", expecting: 503)
            }
            try await Self.admit("december", of: "acme", server)
        }
    }

    @Test("of an array each call is answered by itself, whatever is not known of another's subject")
    func arraysInAnOutage() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.deadlineMilliseconds = 2_000
        }) { server in
            try await Self.addTenant("beta", "soft", server)
            let calls = ["beta", "nobody", "beta"].enumerated().map { index, subject in
                #"{"subject":"\#(subject)","type":"job.done","source":"gw","id":"\#(index)","data":{"seconds":1}}"#
            }
            var count = 0
            var answers: JSONValue?
            // That the tenant's budget is new may be announced late, and then nothing is known of the tenant.
            let isKnown = try await eventually {
                count += 1
                try await server.admit("before-\(count)", subject: "beta")
                try await server.whileLocked("subject_directory") {
                    guard try await Self.ask("beta", "alone", server).status == 200 else { return }
                    answers = try await server.ask("POST", "/admissions", "[\(calls.joined(separator: ","))]")
                }
                return answers != nil
            }
            #expect(isKnown)
            let found = answers?["data"]?.elements ?? []
            #expect(found.map { $0["allowed"] } == [.bool(true), .bool(false), .bool(true)])
            #expect(found.map { $0["reason"]?.string } == [nil, "limits_unavailable", nil])
        }
    }

    @Test("a soft limit is closed where it says so; made soft by a change it is open, unless the change says otherwise")
    func statedPolicies() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.deadlineMilliseconds = 2_000
        }) { server in
            for (tenant, mode, policy) in [("acme", "soft", "closed"), ("beta", "hard", "closed")] {
                try await Self.addTenant(tenant, mode, server, more: #","on_failure":"\#(policy)""#)
            }
            let changed = try await server.ask("PATCH", "/budgets/beta", #"{"mode":"soft"}"#)
            #expect(changed["on_failure"]?.string == "open")
            for tenant in ["acme", "beta"] { try await Self.admit("before", of: tenant, server) }
            try await server.whileLocked("limit_state") {
                let closed = try await server.admit("1", subject: "acme", expecting: 503)
                #expect(closed["code"]?.string == "limits_unavailable")
                #expect(try await server.admit("2", subject: "beta")["allowed"] == .bool(true))
            }
            let kept = try await server.ask("PATCH", "/budgets/acme", #"{"mode":"hard","on_failure":"open"}"#)
            #expect(kept["on_failure"]?.string == "open")
        }
    }

    @Test("a database that takes no writes is one that can't be asked")
    func readOnly() async throws {
        try await TestServer.run { server in
            for (tenant, mode) in [("acme", "hard"), ("beta", "soft")] {
                try await Self.addTenant(tenant, mode, server)
                try await Self.admit("before", of: tenant, server)
            }
            try await Self.endDatabase(server)
            for call in 1...3 {
                let closed = try await server.admit("\(call)", subject: "acme", expecting: 503)
                #expect(closed["code"]?.string == "limits_unavailable")
                let open = try await server.admit("\(call)", subject: "beta")
                #expect(open["warnings"]?.text == #"["limits_unavailable"]"#)
            }
            let two = ["acme", "beta"].map { #"{"subject":"\#($0)","type":"job.done","source":"gw","id":"4"}"# }
            let array = try await server.ask("POST", "/admissions", "[\(two.joined(separator: ","))]")
            let (acme, beta) = (array["data"]?[0], array["data"]?[1])
            #expect(acme?["reason"]?.string == "limits_unavailable" && acme?["retry_after"]?.number == "1")
            #expect(beta?["allowed"] == .bool(true))
            let tenant = #"{"key":"gamma","name":"Gamma","currency":"USD","timezone":"UTC"}"#
            for (path, body) in [("events", SentEvent("usage").json), ("tenants", tenant)] {
                let answer = try await server.operatorClient.post("/api/v1/\(path)", body)
                #expect(answer.status == 503 && answer.code == "database_unavailable", "\(path): \(answer)")
            }
        }
    }

    @Test("who was known before PostgreSQL came back and hung again still is, but for what a change is announced of")
    func knownThroughReconnections() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.deadlineMilliseconds = 2_000
        }) { server in
            for (tenant, mode) in [("acme", "hard"), ("beta", "soft")] {
                try await Self.addTenant(tenant, mode, server)
            }
            try await Self.admit("before", of: "acme", server)
            var count = 0
            // That the tenant's budget is new may be announced late, and then nothing is known of the tenant.
            let wasKnown = try await eventually {
                count += 1
                try await server.admit("before-\(count)", subject: "beta")
                var isKnown = false
                try await server.whileLocked("api_key") {
                    try await server.whileLocked("subject_directory") {
                        try await Self.reconnectListeners(server)
                        let open = try await Self.ask("beta", "\(count)", server)
                        guard open.status == 200 else { return }
                        isKnown = true
                        #expect(open.json["warnings"]?.text == #"["limits_unavailable"]"#)
                        let closed = try await server.admit("1", subject: "acme", expecting: 503)
                        #expect(closed["code"]?.string == "limits_unavailable")
                        try await server.admit("1", subject: "nobody", expecting: 503)
                        try await server.database.run("NOTIFY turnpike_credentials, 'key:operator'")
                        #expect(try await eventually { try await Self.ask("beta", "2", server).status == 503 })
                    }
                }
                return isKnown
            }
            #expect(wasKnown)
            try await Self.admit("after", of: "acme", server)
        }
    }

    @Test("a credential whose reading a standby breaks off is what it was last known to be")
    func readingsBrokenOff() async throws {
        try await TestServer.run(configure: { $0.admission.deadlineMilliseconds = 10_000 }) { server in
            try await server.addTenant("acme")
            try await server.admit("before")
            try await server.database.run(
                """
                ALTER TABLE api_key RENAME TO kept_api_key;
                CREATE FUNCTION broken_off() RETURNS SETOF kept_api_key LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'conflict with recovery' USING ERRCODE = 'serialization_failure'; END $$;
                CREATE VIEW api_key AS SELECT * FROM broken_off();
                GRANT SELECT ON api_key TO turnpike_service
                """
            )
            // Nothing that was read is believed any more.
            server.clock.advance(seconds: 2)
            #expect(try await server.admit("1")["allowed"] == .bool(true))
            #expect(try await server.operatorClient.get("/api/v1/tenants").status == 503)
        }
    }

    @Test("slow requests of others keep neither an admission nor an event of a tenant that is not cached waiting")
    func slowRequestsOfOthers() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.interactiveConnections = 1
            configuration.admission.deadlineMilliseconds = 10_000
        }) { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            try await withThrowingTaskGroup(of: TestResponse.self) { group in
                try await server.whileLocked("fx_rate") {
                    group.addTask { try await server.operatorClient.get("/api/v1/fx-rates") }
                    let isSlow = try await eventually { try await Self.locks("fx_rate", granted: false, server) == 1 }
                    #expect(isSlow)
                    #expect(try await server.admit("1")["allowed"] == .bool(true))
                    #expect(try await server.ingest(SentEvent("1", subject: "beta")).hasPrefix("accepted 1"))
                    // They were answered beside it, and not after it.
                    #expect(try await Self.locks("fx_rate", granted: false, server) == 1)
                }
                for try await answer in group { #expect(answer.status == 200) }
            }
        }
    }

    @Test(
        "a call whose catalogue has changed, and can't be read again in time, is refused by limits that were open, too"
    )
    func staleCatalog() async throws {
        try await TestServer.run(configure: { configuration in
            configuration.admission.deadlineMilliseconds = 2_000
        }) { server in
            try await Self.addTenant("beta", "soft", server)
            try await Self.admit("before-beta", of: "beta", server)
            try await server.whileLocked("meter") {
                try await server.database.run("UPDATE catalog_version SET version = version + 1")
                let refused = try await server.admit("1", subject: "beta", expecting: 503)
                #expect(refused["code"]?.string == "limits_unavailable")
            }
            #expect(try await eventually { try await server.admit("2", subject: "beta")["allowed"] == .bool(true) })
        }
    }

    /// Locks what acme has used of limits.
    private static let acmesRow: SQL = """
        SELECT FROM limit_state AS state JOIN tenant USING (tenant_id) WHERE key = 'acme' FOR UPDATE OF state
        """

    private static let acmesNextRow: SQL = """
        INSERT INTO limit_state (
            tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
            limit_revision
        )
        SELECT tenant_id, limit_id, scope_value, window_end, window_end + interval '1 day', 0, 0, 0, limit_amount,
            limit_revision
        FROM limit_state AS state JOIN tenant USING (tenant_id) WHERE key = 'acme'
        """

    /// Asks for calls in one array, and answers why each is refused, or `allowed`.
    private static func reasons(
        _ id: String,
        of calls: [(tenant: String, model: String)],
        _ server: TestServer
    ) async throws -> [String] {
        let bodies = calls.map { tenant, model in
            #"{"subject":"\#(tenant)","type":"job.done","source":"gw","id":"\#(id)","data":{"model":"\#(model)"}}"#
        }
        let answer = try await server.ask("POST", "/admissions", "[\(bodies.joined(separator: ","))]")
        return answer["data"]?.elements?.map { $0["reason"]?.string ?? "allowed" } ?? []
    }

    private static func ask(_ subject: String, _ id: String, _ server: TestServer) async throws -> TestResponse {
        let body = #"{"subject":"\#(subject)","type":"job.done","source":"gw","id":"\#(id)","data":{}}"#
        return try await server.operatorClient.post("/api/v1/admissions", body)
    }

    /// A tenant with a budget of five requests a day.
    private static func addTenant(
        _ tenant: String,
        _ mode: String,
        _ server: TestServer,
        more: String = ""
    ) async throws {
        try await server.addTenant(tenant)
        try await server.ask(
            "POST",
            "/budgets",
            """
            {"key":"\(tenant)","scope":{"tenant":"\(tenant)"},"measure":"requests","amount":"5","window":"day",\
            "mode":"\(mode)"\(more)}
            """,
            expecting: 201
        )
    }

    /// Asks until there is a decision in time, which on a busy machine may take some calls.
    private static func admit(_ id: String, of subject: String, _ server: TestServer) async throws {
        let body = #"{"subject":"\#(subject)","type":"job.done","source":"gw","id":"\#(id)","data":{"seconds":1}}"#
        let isAdmitted = try await eventually(within: .seconds(30)) {
            let answer = try await server.operatorClient.post("/api/v1/admissions", body)
            return answer.json["reservation"]?["id"] != nil
        }
        #expect(isAdmitted)
    }

    /// Ends the connections on which the server listens, and waits until it knows that it may have missed something.
    private static func reconnectListeners(_ server: TestServer) async throws {
        func listened() -> Int { server.log.lines.count { $0.contains("listening for") } }
        #expect(try await eventually { listened() >= 2 })
        let before = listened()
        try await server.database.run(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE '%listen'
            """
        )
        #expect(try await eventually { listened() >= before + 2 })
    }

    /// How many locks on a table are held, or waited for.
    private static func locks(_ table: String, granted: Bool, _ server: TestServer) async throws -> Int {
        Int(try await server.withPool { pool in try await pool.locks(on: table, granted: granted) })
    }

    /// As after a failover to a standby: connections are lost, and new ones only read.
    private static func endDatabase(_ server: TestServer) async throws {
        try await server.database.run(
            """
            DO $$ BEGIN
                EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
                PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid();
            END $$
            """
        )
    }
}
