import Admission
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// A transaction that raises very many alerts for a tenant holds up nobody for them.
@Suite struct AlertBacklogTests {
    /// A tenant, and a meter that reads its usage, so that nothing is told of that.
    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        try await server.addMeter("jobs")
    }

    private static func addBudget(_ key: String, _ mode: String, _ server: TestServer) async throws {
        let scope = #"{"tenant":"acme","user":"*"}"#
        let bound = #""measure":"requests","amount":"1","window":"month","mode":"\#(mode)""#
        let body = #"{"key":"\#(key)","scope":\#(scope),\#(bound),"thresholds":[50,100]}"#
        try await server.ask("POST", "/budgets", body, expecting: 201)
    }

    /// Each alert is there once, and so is what is told of it.
    private static func expectRaised(_ count: Int, _ kind: String, _ server: TestServer) async throws {
        let isAll = try await eventually {
            try await server.column("SELECT count(*)::text FROM alert_waiting") == ["0"]
        }
        #expect(isAll)
        let counts = try await server.column(
            """
            SELECT count(*) || ' alerts, ' || count(event_id) || ' told'
            FROM alert LEFT JOIN webhook_event ON event_id = alert_id
            WHERE kind = \(kind)
            """
        )
        #expect(counts == ["\(count) alerts, \(count) told"])
    }

    @Test("usage of very many new users is stored while alerts can't be, which are raised once afterwards")
    func manyThresholds() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await Self.addBudget("users", "soft", server)
            let events = (1...60).map { SentEvent("\($0)", data: #"{"user":"u\#($0)"}"#) }
            try await server.whileLocked("alert") {
                try await server.post(events).expecting(200)
            }
            try await Self.expectRaised(120, "threshold_crossed", server)
            try await server.ingest(SentEvent("again", data: #"{"user":"u1"}"#))
            try await Self.expectRaised(120, "threshold_crossed", server)
            #expect(try await server.differences() == [])
        }
    }

    @Test("calls of very many new users that are refused together are told of once for each limit")
    func manyRefusals() async throws {
        try await TestServer.run(configure: { $0.admission.deadlineMilliseconds = 60_000 }) { server in
            try await Self.arrange(server)
            for key in ["a", "b"] { try await Self.addBudget(key, "hard", server) }
            let events = (1...60).map { SentEvent("\($0)", data: #"{"user":"u\#($0)"}"#) }
            try await server.post(events).expecting(200)
            try await Self.expectRaised(240, "threshold_crossed", server)
            let calls = (1...60).map {
                #"{"source":"gw","id":"c\#($0)","type":"job.done","subject":"acme","data":{"user":"u\#($0)"}}"#
            }.joined(separator: ",")
            for _ in 1...2 {
                let answer = try await server.ask("POST", "/admissions", "[\(calls)]")
                let reasons = answer["data"]?.elements?.map { $0["reason"]?.string }
                #expect(reasons == Array(repeating: "budget_exceeded", count: 60))
                try await Self.expectRaised(120, "limit_reached", server)
            }
        }
    }

    @Test("an alert that can't be raised keeps none of those behind it from being raised")
    func oneThatFails() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await Self.addBudget("users", "soft", server)
            try await server.database.run(
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
                CREATE TRIGGER refused BEFORE INSERT ON alert FOR EACH ROW
                WHEN (NEW.scope_value IN ('u7', 'u40')) EXECUTE FUNCTION refuse()
                """
            )
            let events = (1...60).map { SentEvent("\($0)", data: #"{"user":"u\#($0)"}"#) }
            try await server.post(events).expecting(200)
            let waiting: SQL = "SELECT scope_value FROM alert_waiting ORDER BY 1"
            #expect(try await eventually { try await server.column(waiting) == ["u40", "u40", "u7", "u7"] })
            #expect(try await server.column("SELECT count(*)::text FROM alert") == ["116"])
            try await server.database.run("DROP TRIGGER refused ON alert")
            try await Self.expectRaised(120, "threshold_crossed", server)
        }
    }
}
