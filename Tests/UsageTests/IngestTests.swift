import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// `POST /events`: what becomes of each event, and what the sender is told.
@Suite struct IngestTests {
    static let plan = """
        {"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"0.1"}}],
         "quotas":[{"feature":"seconds","limit":"1000","window":"billing_period","mode":"soft"}]}
        """

    /// `acme` and `beta`, of which `acme` subscribes since the start of the month.
    static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme", subjects: ["acme-prod"])
        try await server.addTenant("beta")
        try await server.addFeature("seconds")
        try await server.publish(plan)
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
    }

    @Test func everyContentTypeIsTaken() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let client = server.operatorClient
            func send(_ type: String, _ body: String) async throws -> String {
                try await client.post("/api/v1/events", body, headers: ["Content-Type": type]).expecting(200).report
            }
            let one = { SentEvent($0).json }
            #expect(try await send("application/cloudevents+json; charset=utf-8", one("1")) == "accepted 1")
            let batch = "[\(one("2")),\(one("3"))]"
            #expect(try await send("application/cloudevents-batch+json", batch) == "accepted 2")
            #expect(try await send("application/json", one("4")) == "accepted 1")
            #expect(try await send("application/json", "[\(one("5"))]") == "accepted 1")
            let headers = [
                "Content-Type": "application/json", "ce-specversion": "1.0", "ce-id": "6", "ce-source": "gw",
                "ce-type": "job.done", "ce-subject": "acme-prod",
            ]
            let binary = try await client.post("/api/v1/events", #"{"seconds":1}"#, headers: headers)
            #expect(binary.report == "accepted 1", "\(binary)")
            #expect(try await server.used("seconds") == "6")
            let text = try await client.post("/api/v1/events", one("7"), headers: ["Content-Type": "text/plain"])
            #expect(text.status == 415)
            #expect(try await server.differences() == [])
        }
    }

    @Test func theReportSaysWhatWasNotPlainlyAccepted() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.addFeature("disks", type: "disk.used")
            try await server.ingest(SentEvent("old"))
            let answer = try await server.post([
                SentEvent("new"), SentEvent("old"), SentEvent("old", data: #"{"seconds":2}"#),
                SentEvent("nobody", subject: "nobody"), SentEvent("other", type: "other"),
                SentEvent("beta", subject: "beta"), SentEvent("disk", type: "disk.used"),
            ])
            #expect(
                answer.report
                    == "accepted 4, duplicates 1, conflicts 1, unmatched 1, unmetered 1, unsubscribed 1, unpriced 1"
            )
            #expect(
                answer.problems == [
                    "duplicate old@1", "conflict old@2", "unmatched nobody@3", "unmetered other@4",
                    "unsubscribed beta@5",
                    "unpriced disk@6",
                ]
            )
            #expect(try await server.used("seconds") == "2")
            #expect(try await server.differences() == [])
        }
    }

    @Test func theFirstOfARequestWins() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let answer = try await server.post([
                SentEvent("a", data: #"{"seconds":3}"#), SentEvent("a", data: #"{ "seconds": 3 }"#),
                SentEvent("a", data: #"{"seconds":4}"#), SentEvent("a", source: "gw-2", data: #"{"seconds":5}"#),
            ])
            #expect(answer.report == "accepted 2, duplicates 1, conflicts 1")
            #expect(answer.problems == ["duplicate a@1", "conflict a@2"])
            #expect(try await server.ingest(SentEvent("a", data: #"{"seconds":4}"#)) == "conflicts 1")
            #expect(try await server.used("seconds") == "8")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aFaultRefusesTheWholeRequest() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let answer = try await server.post([
                SentEvent("1"), SentEvent("2", data: #"{"seconds":-1}"#), SentEvent("3"),
                SentEvent("4", data: #"{"seconds":"many"}"#),
            ])
            #expect(answer.status == 400)
            #expect(answer.code == "validation_failed")
            #expect(answer.pointers == ["/1/data/seconds", "/3/data/seconds"])
            let alone = SentEvent("5", data: #"{"seconds":-1}"#).json
            #expect(try await server.operatorClient.post("/api/v1/events", alone).pointers == ["/data/seconds"])
            #expect(try await server.column("SELECT count(*)::text FROM event_dedup") == ["0"])
        }
    }

    @Test func aFaultPointsAtTheMemberThatAMeterReads() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("gpu", of: "gpu.seconds")
            for (data, pointer) in [
                (#"{"gpu.seconds":"many","gpu":{"seconds":1}}"#, "/data/gpu.seconds"),
                (#"{"gpu":{"seconds":"many"}}"#, "/data/gpu/seconds"),
            ] {
                let answer = try await server.operatorClient.post("/api/v1/events", SentEvent("1", data: data).json)
                #expect(answer.pointers == [pointer], "\(answer)")
            }
        }
    }

    @Test func lenientHandlingStoresTheValidOnes() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let answer = try await server.post(
                [
                    SentEvent("1"), SentEvent("2", data: #"{"seconds":-1}"#), SentEvent("", data: "[]"),
                    SentEvent("4", time: "2020-01-01T00:00:00Z"), SentEvent("1"),
                ],
                as: server.client([.eventsWrite]),
                lenient: true
            )
            #expect(answer.status == 200)
            #expect(answer.header("Preference-Applied") == "handling=lenient")
            #expect(answer.report == "accepted 1, duplicates 1, rejected 3")
            #expect(
                Set(answer.problems.filter { !$0.contains("@2") }) == ["rejected 2@1", "rejected 4@3", "duplicate 1@4"]
            )
            let pointers = (answer.json["problems"]?.elements ?? []).compactMap { $0["pointer"]?.string }
            #expect(pointers.contains("/1/data/seconds"))
            #expect(pointers.contains("/3/time"))
            #expect(try await server.used("seconds") == "1")
            let malformed = try await server.operatorClient.post(
                "/api/v1/events",
                "[{]",
                headers: ["Prefer": "handling=lenient"]
            )
            #expect(malformed.status == 400)
            #expect(malformed.code == "malformed_json")
        }
    }

    @Test func timesMustBeNear() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let events = [
                SentEvent("1", time: "2026-10-19T08:00:00Z"), SentEvent("2", time: "2026-10-19T07:59:59.999999Z"),
                SentEvent("3", time: "2026-11-23T08:05:00Z"), SentEvent("4", time: "2026-11-23T08:05:00.000001Z"),
            ]
            let answer = try await server.post(events, as: server.client([.eventsWrite]))
            #expect(answer.pointers == ["/1/time", "/3/time"])
            let codes = (answer.json["errors"]?.elements ?? []).map { $0["code"]?.string }
            #expect(codes == ["timestamp_too_old", "timestamp_in_future"])
        }
    }

    @Test func backfillMakesTheMonthsItNeeds() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let ordinary = try await server.client([.eventsWrite])
            let backfill = try await server.client([.eventsWrite, .eventsBackfill])
            let old = SentEvent("old", time: "2019-03-31T23:59:59Z")
            #expect(try await server.post([old], as: ordinary).pointers == ["/0/time"])
            #expect(try await server.post([old], as: backfill).report == "accepted 1, unsubscribed 1")
            let tables = try await server.column(
                "SELECT tableoid::regclass::text FROM usage_event ORDER BY event_time LIMIT 10"
            )
            #expect(tables == ["usage_event_2019_03"])
            let tooOld = SentEvent("older", time: "1999-12-31T23:59:59Z")
            #expect(try await server.post([tooOld], as: backfill).pointers == ["/0/time"])
        }
    }

    @Test func withoutATimeItCountsOnceEvenInTheNextMonth() async throws {
        try await TestServer.run(clock: TestClock("2026-11-30T23:59:59Z")) { server in
            try await Self.arrange(server)
            #expect(try await server.ingest(SentEvent("1")) == "accepted 1")
            server.clock.advance(seconds: 3_600)
            #expect(try await server.ingest(SentEvent("1")) == "duplicates 1")
            #expect(try await server.column("SELECT event_time::text FROM usage_event").count == 1)
            #expect(try await server.used("seconds") == "0")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aBoundKeySpeaksForItsTenantOnly() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let bound = try await server.client([.eventsWrite], tenant: "beta")
            let others = try await server.post([SentEvent("1", subject: "beta"), SentEvent("2")], as: bound)
            let unknown = try await server.post(
                [SentEvent("1", subject: "beta"), SentEvent("2", subject: "nobody")],
                as: bound
            )
            #expect(others.status == 400)
            #expect(others.pointers == ["/1/subject"])
            #expect(others.json["errors"] == unknown.json["errors"])
            let lenient = try await server.post([SentEvent("3", subject: "acme-prod")], as: bound, lenient: true)
            #expect(lenient.report == "rejected 1")
            let stored = try await server.column(
                "SELECT event_id FROM usage_event UNION ALL SELECT event_id FROM unmatched_event"
            )
            #expect(stored == [])
            #expect(
                try await server.post([SentEvent("4", subject: "beta")], as: bound).report
                    == "accepted 1, unsubscribed 1"
            )
        }
    }

    @Test func aBodyBeyondTheLimitIsRefused() async throws {
        try await TestServer.run(configure: { $0.eventBodyBytes = 2_000 }) { server in
            try await Self.arrange(server)
            let large = SentEvent("1", data: #"{"note":"\#(String(repeating: "x", count: 2_000))"}"#)
            let answer = try await server.post([large])
            #expect(answer.status == 413)
            #expect(answer.code == "content_too_large")
        }
    }

    @Test func tooManyEventsAreRefusedWhole() async throws {
        try await TestServer.run(configure: { $0.batchEvents = 3 }) { server in
            try await Self.arrange(server)
            let answer = try await server.post((1...4).map { SentEvent("\($0)") }, lenient: true)
            #expect(answer.status == 400)
            #expect(try await server.column("SELECT count(*)::text FROM event_dedup") == ["0"])
        }
    }
}
