import BillingCore
import Catalog
import Limits
import Postgres
import TestSupport
import Testing
import Web

/// Calls that are all admitted are decided in one round trip and a commit: what they hold must be what each would hold
/// by itself.
@Suite(.timeLimit(.minutes(15)))
struct AdmittedAtOnceTests {
    @Test("values that look the same and are written otherwise are held, and freed, each for itself")
    func spellings() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            let budget = """
                {"key":"users","scope":{"tenant":"*","user":"*"},"measure":"requests","amount":"9","window":"day",\
                "mode":"hard"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let users = ["\u{E9}", "e\u{301}"]
            let one = """
                {"key":"one","scope":{"tenant":"acme","user":"\(users[0])"},"measure":"requests","amount":"9",\
                "window":"day","mode":"hard"}
                """
            try await server.ask("POST", "/budgets", one, expecting: 201)
            let calls = users.enumerated().map { server.call("\($0)", data: #","user":"\#($1)""#) }
            let answers = try await server.admit(together: calls)
            try await server.expectRows(["0 2 0", "0 1 0", "0 1 0", "0 1 0"])
            try #require(answers.count == users.count)
            for (index, user) in users.enumerated() {
                let reservation = server.id(of: answers[index])
                let event = """
                    {"specversion":"1.0","id":"e\(index)","source":"gw","type":"job.done","subject":"acme",\
                    "reservationid":"\(reservation)","data":{"seconds":1,"user":"\(user)"}}
                    """
                try await server.operatorClient.post("/api/v1/events", event).expecting(200)
            }
            try await server.expectRows(["2 0 0", "1 0 0", "1 0 0", "1 0 0"])
        }
    }

    @Test("while parts of a reservation are settled its call is repeated, and neither waits for the other in a circle")
    func repetition() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100000")
            let first = try await server.admit("1", seconds: "500")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for client in 0..<4 {
                    group.addTask {
                        for turn in 0..<25 {
                            try await server.settle(first, event: "\(client)-\(turn)", seconds: "1", partial: true)
                        }
                    }
                    group.addTask {
                        for turn in 0..<25 {
                            let again = try await server.admit("1", seconds: "500")
                            #expect(again["warnings"]?.text == #"["repeated"]"#)
                            // The limit's row is busy with others, too.
                            try await server.admit("other-\(client)-\(turn)", seconds: "1")
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await server.expectRows(["100 500 0"])
            // Sessions report what they met when they end, otherwise seconds later.
            try await server.database.run(
                """
                SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
                """
            )
            let deadlocks = try await server.withPool { pool in
                try await pool.query(
                    .worker,
                    "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
                ) { row throws(PostgresError) in try row.next(Int64.self) }
            }
            #expect(deadlocks == [0])
        }
    }

    @Test("the first call that can come to be settled in the next billing period is decided in its first flush")
    func nextPeriod() async throws {
        try await TestServer.run(clock: TestClock("2026-11-30T23:50:00Z")) { server in
            try await server.arrangeTiers()
            func leases(_ id: String, ttl: Int) async throws -> UInt64 {
                let before = server.leases(of: .admission)
                let answer = try await server.admit(id, more: #","ttl_seconds":\#(ttl)"#)
                #expect(answer["allowed"] == .bool(true))
                return server.leases(of: .admission) - before
            }
            var count = 0
            // Everything is announced and read.
            let isKnown = try await eventually {
                count += 1
                return try await leases("before-\(count)", ttl: 60) == 1
            }
            #expect(isKnown)
            #expect(try await leases("over", ttl: 900) == 1)
        }
    }

    @Test("calls together hold of a spend cap over a free tier what they can cost together with what was held before")
    func tiers() async throws {
        try await TestServer.run { server in
            try await server.arrangeTiers()
            func ask(_ calls: [(id: String, seconds: Int)]) async throws -> [JSONValue] {
                try await server.admit(together: calls.map { server.call($0.id, seconds: "\($0.seconds)") })
            }
            func held(_ answer: JSONValue) -> String? {
                answer["limits"]?.elements?.first { $0["key"]?.string != "seconds" }?["held"]?.string
            }
            let first = try await server.admit("0", seconds: "7")
            try await server.expectRows(["0 7 0", "0 0 0"])
            // 11, 15 and 19 seconds, of which ten are free.
            let together = try await ask([("1", 4), ("2", 4), ("3", 4)])
            #expect(Set(together.compactMap(held)) == ["2.00", "10.00", "18.00"])
            try await server.expectRows(["0 19 0", "0 18 0"])
            let mixed = try await ask([("4", 1), ("5", 5)])
            #expect(mixed[0]["allowed"] == .bool(true))
            #expect(mixed[1]["reason"]?.string == "spend_cap_exceeded")
            try await server.expectRows(["0 20 0", "0 20 0"])
            try await server.settle(together[0], event: "a", seconds: "4")
            try await server.settle(together[1], event: "b", seconds: "9")
            // 13 are used and cost 6; 12 are held and cost 24 more, five of which nobody had reserved.
            try await server.expectRows(["13 12 5", "6 24 10"])
            for open in [first, together[2], mixed[0]] {
                let id = server.id(of: open)
                try await server.ask("POST", "/admissions/\(id)/release")
            }
            try await server.expectRows(["13 0 5", "6 0 10"])
        }
    }

    @Test(
        "whatever is admitted together, settled and released, a spend cap holds what is held by its tiers",
        arguments: 1...3
    )
    func randomTiers(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        try await TestServer.run { server in
            try await server.arrangeTiers()
            var open: [String: Int] = [:]
            var used = 0
            for step in 0..<40 {
                if Bool.random(using: &random),
                    let (id, seconds) = open.sorted(by: { $0.key < $1.key }).randomElement(using: &random)
                {
                    open[id] = nil
                    if Bool.random(using: &random) {
                        let settled = Int.random(in: 0...seconds, using: &random)
                        let admission = JSONValue.members(["reservation": .members(["id": .string(id)])])
                        try await server.settle(admission, event: "e\(step)", seconds: "\(settled)")
                        used += settled
                    } else {
                        try await server.ask("POST", "/admissions/\(id)/release")
                    }
                } else {
                    let sizes = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                        Int.random(in: 1...6, using: &random)
                    }
                    let calls = sizes.enumerated().map { index, seconds in
                        server.call("\(step)-\(index)", seconds: "\(seconds)", more: #","ttl_seconds":86400"#)
                    }
                    for (answer, seconds) in zip(try await server.admit(together: calls), sizes) {
                        if let id = answer["reservation"]?["id"]?.string { open[id] = seconds }
                    }
                }
                let held = open.values.reduce(0, +)
                func charge(_ seconds: Int) -> Int { max(0, seconds - 10) * 2 }
                try await server.expectRows([
                    "\(used) \(held) 0", "\(charge(used)) \(charge(used + held) - charge(used)) 0",
                ])
                #expect(used + held <= 20, "the cap is ten seconds beyond the free ones")
            }
        }
    }

    @Test("a call with the same id as one before it in the same request is that call")
    func twins() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let call = #"{"subject":"acme","type":"job.done","source":"gw","id":"1","data":{"seconds":4}}"#
            let answer = try await server.ask("POST", "/admissions", "[\(call),\(call)]")
            let ids = Set((0..<2).map { answer["data"]?[$0]?["reservation"]?["id"]?.string ?? "\($0)" })
            #expect(ids.count == 1)
            try await server.expectRows(["0 4 0"])
        }
    }

    @Test("what leaves the range of an amount is told so, and its neighbours are admitted")
    func outOfRange() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(
                #"{"quotas":[{"feature":"seconds","limit":"1","window":"month","mode":"soft","overage":"allowed"}]}"#
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let most = "60000000000000000000000000"
            try await server.admit("1", seconds: most)
            let fault = try await server.admit("2", seconds: most, expecting: 422)
            #expect(fault["code"]?.string == "amount_out_of_range")
            // In an array it is the answer to that call, and the others have theirs.
            let calls = [server.call("2", seconds: most), server.call("4", seconds: "2")]
            let answers = try await server.admit(together: calls)
            #expect(answers.first?["reason"]?.string == "amount_out_of_range")
            #expect(answers.last?["allowed"] == .bool(true))
            #expect(try await server.admit("3", seconds: "1")["allowed"] == .bool(true))
            try await server.expectRows(["0 \(most.dropLast())3 0"])
        }
    }

    @Test("a hold that comes with a lowered limit is no overshoot; what was there above it is")
    func loweredLimit() async throws {
        try await TestDatabase.with { database in
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let row = LimitRow(tenant: TenantID(1), limit: LimitID(1), windowStart: Instant(microseconds: 0))
            func change(_ amount: Int64, revision: Int64) -> LimitChange {
                LimitChange(row: row, windowEnd: .maximum, amount: FixedDecimal(amount), revision: revision)
            }
            var used = change(100, revision: 1)
            try used.use(FixedDecimal(90))
            used.overshoot = .zero
            var held = change(80, revision: 2)
            held.held = FixedDecimal(20)
            let first = try await pool.query(.worker, LimitStateStore.count([used]), LimitStateStore.decode)
            #expect(first.first?.balance.used == FixedDecimal(90))
            let state = try await pool.query(.worker, LimitStateStore.hold([held]), LimitStateStore.decode).first
            #expect(state?.balance.held == FixedDecimal(20))
            #expect(state?.balance.overshoot == FixedDecimal(10))
            #expect(state?.balance.amount == FixedDecimal(80))
            await pool.close()
        }
    }

    @Test(
        "of calls of one id in an array the first stands, whatever becomes of their neighbours",
        arguments: [false, true]
    )
    func sameIdentity(isTrialFirst: Bool) async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            let first = server.call("k", seconds: "100", more: isTrialFirst ? #","dry_run":true"# : "")
            let second = server.call("k", seconds: "200")
            let answers = try await server.admit(together: [first, second, server.call("big", seconds: "5000"), second])
            let told = answers.map { $0["reason"]?.string ?? $0["warnings"]?.text ?? "" }
            #expect(
                told
                    == (isTrialFirst
                        ? ["[]", "[]", "quota_exceeded", #"["repeated"]"#]
                        : ["[]", "admission_conflict", "quota_exceeded", "admission_conflict"])
            )
            try await server.expectRows([isTrialFirst ? "0 200 0" : "0 100 0"])
        }
    }
}
