import Admission
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// Calls that are likely to be admitted are committed in the round trip that decides them: where one may not be,
/// nothing of it is left, and it is decided by itself.
@Suite(.timeLimit(.minutes(15)))
struct CommittedUnseenTests {
    @Test("a limit that others have reached refuses the call, and its failed flush is not repeated")
    func reached() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.countRefusals()
            try await server.admit("1", seconds: "4")
            try await server.admit("2", seconds: "6")
            #expect(try await server.refusals(.limit) == 0)
            try await server.expectRows(["0 10 0"])
            try await server.expectQuotaExceeded("3", seconds: "0.000000000001")
            #expect(try await server.refusals(.limit) == 1)
            // It is decided by itself for a while. Then it goes with others again, and its reservation is tried: the
            // refusal is still known, and it is looked at before it is committed.
            try await server.countInsertions()
            var count = 0
            let isTried = try await eventually {
                count += 1
                try await server.expectQuotaExceeded("again-\(count)", seconds: "1")
                return try await server.count("tried_reservation") ?? 0 > 0
            }
            #expect(isTried)
            #expect(try await server.refusals(.limit) == 1)
            try await server.expectRows(["0 10 0"])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("the calls of one array stay within the limit together, and those that fit are admitted")
    func array() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.countRefusals()
            let calls = ["4", "7", "6"].enumerated().map { server.call("\($0)", seconds: $1) }
            let answers = try await server.admit(together: calls)
            #expect(answers.map { $0["allowed"] == .bool(true) } == [true, false, true])
            #expect(try await server.refusals(.limit) == 1)
            try await server.expectRows(["0 10 0"])
        }
    }

    @Test("what a lowered limit leaves above it refuses further calls, though the service has not heard of that")
    func lowered() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.countRefusals()
            try await server.admit("1", seconds: "4")
            try await server.database.run(
                "UPDATE limit_state SET limit_amount = 3, limit_revision = limit_revision + 1"
            )
            try await server.expectQuotaExceeded("2", seconds: "1")
            #expect(try await server.refusals(.limit) == 1)
            try await server.expectRows(["0 4 0"])
        }
    }

    @Test("a limit that two tenants share refuses one of their calls when both are decided together")
    func sharedLimit() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.addTenant("globex")
            try await server.subscribe("globex", at: "2026-11-01T00:00:00Z")
            let budget = #"{"key":"all","scope":{},"measure":"requests","amount":"3","window":"day","mode":"hard"}"#
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.countRefusals()
            let tenants = ["acme", "globex", "acme", "globex"]
            let answers = try await server.admit(
                together: tenants.enumerated().map { server.call("\($0)", subject: $1) }
            )
            #expect(answers.filter { $0["allowed"] == .bool(true) }.count == 3)
            #expect(answers.compactMap { $0["reason"]?.string } == ["budget_exceeded"])
            #expect(try await server.brokenLimits() == [])
            #expect(try await server.unbalancedHolds() == [])
            let held = try await server.limitRows()
            #expect(held.first == "0 3 0" && held.count == 3)
        }
    }

    @Test("what is not done when its caller is told so holds nothing afterwards")
    func late() async throws {
        try await TestServer.run(configure: { $0.admission.deadlineMilliseconds = 5_000 }) { server in
            try await server.arrangeQuota("10")
            try await server.admit("1")
            try await server.database.run(
                """
                CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    PERFORM pg_sleep(12);
                    RETURN NEW;
                END
                $$;
                CREATE TRIGGER dawdling BEFORE INSERT ON reservation FOR EACH ROW EXECUTE FUNCTION dawdle()
                """
            )
            let refused = try await server.admit("2", expecting: 503)
            #expect(refused["code"]?.string == "limits_unavailable")
            try await server.database.run("DROP TRIGGER dawdling ON reservation")
            // Behind whatever is still under way.
            #expect(try await server.admit("3")["allowed"] == .bool(true))
            try await server.expectRows(["0 2 0"])
        }
    }

    @Test("a limit that denies nothing, and a call that takes nothing of one, are not refused by it")
    func passing() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(
                #"{"quotas":[{"feature":"seconds","limit":"5","window":"month","mode":"soft","overage":"allowed"}]}"#
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let budget = """
                {"key":"day","scope":{"tenant":"*","feature":"seconds"},"measure":"units","amount":"100",\
                "window":"day","mode":"hard"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.countRefusals()
            #expect(try await server.admit("1", seconds: "9")["allowed"] == .bool(true))
            #expect(try await server.admit("2", seconds: "0")["allowed"] == .bool(true))
            #expect(try await server.admit("3", seconds: "91")["allowed"] == .bool(true))
            // Of a limit that is reached nothing is left even for a call that takes nothing.
            #expect(try await server.admit("4", seconds: "0")["reason"]?.string == "budget_exceeded")
            #expect(try await server.refusals(.limit) == 0)
        }
    }

    @Test("a rate that is used up refuses the call, which uses nothing of it or of limits beside it")
    func rate() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let budget = """
                {"key":"rpm","scope":{"tenant":"*"},"measure":"requests",\
                "rate":{"limit":60,"period":"minute","burst":3,"default_percent":100}}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.countRefusals()
            for id in 1...3 {
                let answer = try await server.admit("\(id)")
                #expect(answer["allowed"] == .bool(true))
            }
            #expect(try await server.refusals(.rate) == 0)
            let before = try await server.arrivals()
            #expect(before.count == 1)
            let refused = try await server.admit("4")
            #expect(refused["reason"]?.string == "rate_limited")
            #expect(try await server.refusals(.rate) == 1)
            #expect(try await server.arrivals() == before)
            try await server.expectRows(["0 3 0"])
        }
    }

    @Test("calls that have different shares of a rate are admitted as one by one")
    func shares() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100")
            let budget = """
                {"key":"rpm","scope":{"tenant":"*"},"measure":"requests",\
                "rate":{"limit":60,"period":"minute","burst":4,"sheddable_percent":50,"default_percent":100}}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.countRefusals()
            let criticalities = ["sheddable", "default", "default", "default", "sheddable"]
            let calls = criticalities.enumerated().map { server.call("\($0)", more: #","criticality":"\#($1)""#) }
            func ask(_ calls: some Sequence<String>) async throws -> [Bool] {
                try await server.admit(together: Array(calls)).map { $0["allowed"] == .bool(true) }
            }
            #expect(try await ask(calls.prefix(3)) == [true, true, true])
            #expect(try await ask(calls.suffix(1)) == [false])
            #expect(try await ask([calls[3]]) == [true])
            try await server.expectRows(["0 4 0"])
        }
    }

    @Test(
        "a call that was prepared with what is out of date by now is prepared anew",
        arguments: ["tenant_ledger SET catalog_version = catalog_version", "catalog_version SET version = version"]
    )
    func outOfDate(change: String) async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("1000")
            try await server.countRefusals()
            var count = 0
            // Versions are polled as well: one of the calls comes before that.
            let isRefused = try await eventually {
                try await server.database.run("UPDATE \(change) + 1")
                count += 1
                #expect(try await server.admit("\(count)")["allowed"] == .bool(true))
                return try await server.refusals(.catalogue) ?? 0 > 0
            }
            #expect(isRefused)
            try await server.expectRows(["0 \(count) 0"])
        }
    }

    @Test("a call that was admitted before gets its reservation again, and holds once")
    func repeated() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.countRefusals()
            let first = try await server.admit("1", seconds: "4")
            let again = try await server.admit("1", seconds: "4")
            #expect(server.id(of: again) == server.id(of: first))
            #expect(again["warnings"]?.text == #"["repeated"]"#)
            #expect(try await server.refusals(.call) == 1)
            try await server.expectRows(["0 4 0"])
        }
    }
}

private enum Refusal: String, CaseIterable {
    case limit = "a limit is reached"
    case rate = "a rate is used up"
    case call = "a call was admitted before"
    case catalogue = "the catalogue has changed"
}

extension TestServer {
    /// Has refusals counted, which roll back whatever else they could leave: a sequence does not go back.
    fileprivate func countRefusals() async throws {
        let sequences = Refusal.allCases.map { "CREATE SEQUENCE refused_\($0);" }.joined()
        let cases = Refusal.allCases.map { "WHEN '\($0.rawValue)' THEN 'refused_\($0)'" }.joined(separator: " ")
        try await database.run(
            """
            \(sequences)
            GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO turnpike_service;
            CREATE OR REPLACE FUNCTION refuse_transaction(reason text, subject bigint) RETURNS boolean
            LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM nextval(CASE reason \(cases) END);
                RAISE EXCEPTION '%', reason USING ERRCODE = 'TP001';
            END
            $$
            """
        )
    }

    fileprivate func refusals(_ reason: Refusal) async throws -> Int64? { try await count("refused_\(reason)") }

    /// Has reservations counted that a flush tries to insert, whatever becomes of it.
    fileprivate func countInsertions() async throws {
        try await database.run(
            """
            CREATE SEQUENCE tried_reservation;
            GRANT SELECT, USAGE ON SEQUENCE tried_reservation TO turnpike_service;
            CREATE FUNCTION count_reservation() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM nextval('tried_reservation');
                RETURN NEW;
            END
            $$;
            CREATE TRIGGER counted BEFORE INSERT ON reservation FOR EACH ROW EXECUTE FUNCTION count_reservation()
            """
        )
    }

    fileprivate func count(_ sequence: String) async throws -> Int64? {
        try await withPool { pool in
            try await pool.query(
                .worker,
                "SELECT coalesce(last_value, 0) FROM pg_sequences WHERE sequencename = \(sequence)"
            ) { row throws(PostgresError) in try row.next(Int64.self) }
        }.first
    }

    fileprivate func arrivals() async throws -> [String] {
        try await withPool { pool in
            try await pool.query(.worker, "SELECT arrival::text FROM rate_state") { row throws(PostgresError) in
                try row.next(String.self)
            }
        }
    }

    fileprivate func expectQuotaExceeded(
        _ id: String,
        seconds: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await admit(id, seconds: seconds)
        #expect(answer["allowed"] == .bool(false), sourceLocation: sourceLocation)
        #expect(answer["reason"]?.string == "quota_exceeded", sourceLocation: sourceLocation)
    }
}
