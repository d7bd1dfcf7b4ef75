import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

/// Two replicas on one database: what one changes, the other never counts wrong.
@Suite(.timeLimit(.minutes(15))) struct ReplicaTests {
    private static func run(_ body: (TestServer, TestServer) async throws -> Void) async throws {
        try await TestServer.run { first in
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                try await body(first, second)
            }
        }
    }

    /// Resends what a replica refused for the moment.
    private static func send(_ events: [SentEvent], to server: TestServer) async throws -> TestResponse {
        try await resending { try await server.post(events) }
    }

    private static func resending(_ send: () async throws -> TestResponse) async throws -> TestResponse {
        var answer = try await send()
        for _ in 0..<50 where answer.status == 503 { answer = try await send() }
        return answer
    }

    @Test func aCatalogueThatChangesUnderIngestIsNeverWrong() async throws {
        try await Self.run { first, second in
            try await IngestTests.arrange(first)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for sender in 0..<4 {
                    group.addTask {
                        for round in 0..<15 {
                            let events = (0..<5).map { number in
                                SentEvent(
                                    "\(sender)-\(round)-\(number)",
                                    subject: ["acme", "acme-prod", "beta"][number % 3],
                                    data: #"{"seconds":1,"worker":"w\#(number)"}"#
                                )
                            }
                            let answer = try await Self.send(events, to: sender % 2 == 0 ? first : second)
                            #expect(answer.status == 200, "\(answer)")
                        }
                    }
                }
                group.addTask {
                    for index in 0..<6 {
                        try await second.addFeature("calls-\(index)", "count", of: nil)
                        try await second.addFeature("workers-\(index)", "unique_count", of: "worker")
                        try await second.ask("PATCH", "/tenants/acme", #"{"subjects":["acme-prod","s\#(index)"]}"#)
                        if index == 2 { try await second.subscribe("beta", at: "2026-11-10T00:00:00Z") }
                        if index >= 3 {
                            try await second.ask("DELETE", "/features/calls-\(index - 3)", expecting: 204)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await first.differences() == [])
            #expect(try await first.used("seconds") == "240")
            #expect(try await second.used("seconds", tenant: "beta") == "60")
        }
    }

    @Test func aSubscriptionMadeElsewhereCountsTheNextEvent() async throws {
        try await Self.run { first, second in
            try await IngestTests.arrange(first)
            #expect(try await first.ingest(SentEvent("1", subject: "beta")) == "accepted 1, unsubscribed 1")
            try await second.subscribe("beta", at: "2026-11-10T00:00:00Z")
            #expect(try await first.ingest(SentEvent("2", subject: "beta")) == "accepted 1")
            #expect(try await second.used("seconds", tenant: "beta") == "2")
            #expect(try await first.differences() == [])
        }
    }

    @Test func aSubjectThatMovesTakesItsNextEventsAlong() async throws {
        try await Self.run { first, second in
            try await IngestTests.arrange(first)
            try await first.ingest(SentEvent("1", subject: "acme-prod"))
            try await second.ask("PATCH", "/tenants/acme", #"{"subjects":[]}"#)
            try await second.ask("PATCH", "/tenants/beta", #"{"subjects":["acme-prod"]}"#)
            #expect(try await first.ingest(SentEvent("2", subject: "acme-prod")) == "accepted 1, unsubscribed 1")
            #expect(try await first.used("seconds") == "1")
            #expect(try await first.differences() == [])
        }
    }

    @Test func aMeterMadeElsewhereJudgesTheNextEvent() async throws {
        try await Self.run { first, second in
            try await IngestTests.arrange(first)
            let event = SentEvent("1", data: #"{"seconds":1,"bytes":-1}"#)
            #expect(try await first.ingest(SentEvent("0", data: #"{"seconds":1,"bytes":-1}"#)) == "accepted 1")
            try await second.addFeature("bytes", of: "bytes")
            let refused = try await first.post([SentEvent("2"), event])
            #expect(refused.status == 400)
            #expect(refused.pointers == ["/1/data/bytes"])
            let lenient = try await first.post([SentEvent("2"), event], lenient: true)
            #expect(lenient.report == "accepted 1, rejected 1")
            #expect(try await first.differences() == [])
        }
    }

    @Test func aMeterThatAppearsUnderAFlushRefusesAsUsual() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await IngestFixture.use(server) { ingest in
                async let report = ingest.send(SentEvent("1"), SentEvent("2", data: #"{"seconds":1,"bytes":-1}"#))
                #expect(try await ingest.waits(for: 1))
                try await server.addFeature("bytes", of: "bytes")
                async let neighbour = ingest.send(SentEvent("3"))
                #expect(try await ingest.waits(for: 2))
                try await ingest.flush()
                #expect(await report == "validation_failed /1/data/bytes")
                #expect(await neighbour == "accepted 1")
            }
            #expect(try await server.used("seconds") == "1")
        }
    }

    @Test func aFeatureCountsFromItsCreationToItsArchiving() async throws {
        try await Self.run { first, second in
            try await IngestTests.arrange(first)
            func calls() async throws -> [String?] {
                try await first.column(
                    """
                    SELECT counter.event_count::text FROM usage_counter AS counter JOIN feature USING (feature_id)
                    WHERE feature.key = 'calls'
                    """
                )
            }
            try await first.ingest(SentEvent("1"))
            try await second.addFeature("calls", "count", of: nil)
            try await first.ingest(SentEvent("2"), SentEvent("3"))
            #expect(try await calls() == ["2"])
            try await second.ask("DELETE", "/features/calls", expecting: 204)
            try await first.ingest(SentEvent("4"))
            #expect(try await calls() == ["2"])
            #expect(try await first.differences() == [])
            _ = try await first.void("3")
            _ = try await second.void("4")
            #expect(try await calls() == ["1"])
            #expect(try await first.differences() == [])
        }
    }

    @Test func oppositeOrdersOfTenantsNeverDeadlock() async throws {
        try await Self.run { first, second in
            try await first.addFeature("seconds")
            try await first.addFeature("workers", "unique_count", of: "worker")
            try await first.publish(IngestTests.plan)
            let tenants = (0..<12).map { "t\($0)" }
            for tenant in tenants {
                try await first.addTenant(tenant)
                try await first.subscribe(tenant, at: "2026-11-01T00:00:00Z")
            }
            try await withThrowingTaskGroup(of: TestResponse.self) { group in
                for request in 0..<48 {
                    let order = request % 2 == 0 ? tenants : tenants.reversed()
                    let events = order.flatMap { tenant in
                        (0..<3).map { number in
                            SentEvent(
                                "\(request / 2)-\(number)",
                                subject: number == 2 ? "nobody-\(tenant)" : tenant,
                                data: #"{"seconds":1,"worker":"w\#(request % 5)"}"#
                            )
                        }
                    }
                    group.addTask { try await Self.send(events, to: request % 4 < 2 ? first : second) }
                    if request % 6 == 0 {
                        group.addTask {
                            try await Self.resending {
                                try await second.operatorClient.post("/api/v1/unmatched-events/replay")
                            }
                        }
                    }
                }
                for try await answer in group { #expect(answer.status == 200, "\(answer)") }
            }
            for tenant in tenants {
                #expect(try await second.used("seconds", tenant: tenant) == "48")
            }
            #expect(try await first.differences() == [])
            let log = first.log.text + second.log.text
            #expect(!log.contains("40P01"))
        }
    }
}
