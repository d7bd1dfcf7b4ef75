import Postgres
import TestSupport
import Testing
import Web

/// Events whose subject names nobody: kept, listed, and counted once when it names a tenant.
@Suite struct UnmatchedEventTests {
    private static func register(_ subject: String, _ server: TestServer) async throws {
        try await server.ask("PATCH", "/tenants/acme", #"{"subjects":["acme-prod","\#(subject)"]}"#)
    }

    private static func replay(_ server: TestServer, _ body: String = "") async throws -> String {
        let report = try await server.ask("POST", "/unmatched-events/replay", body)
        let names = ["replayed", "duplicates", "conflicts", "unmatched"]
        return names.map { "\($0) \(report[$0]?.number ?? "?")" }.joined(separator: ", ")
    }

    private static func waiting(_ server: TestServer, query: String = "") async throws -> [String] {
        let list = try await server.ask("GET", "/unmatched-events\(query)")
        return (list["data"]?.elements ?? []).map { "\($0["subject"]?.string ?? "?") \($0["id"]?.string ?? "?")" }
            .sorted()
    }

    @Test func theyAreListedUntilReplayed() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            let events = [
                SentEvent("1", subject: "new"), SentEvent("2", subject: "new", time: "2026-11-20T08:00:00Z"),
                SentEvent("1", subject: "other"),
            ]
            #expect(try await server.post(events).report == "unmatched 3")
            #expect(try await server.post(events).report == "duplicates 3")
            let changed = SentEvent("1", subject: "new", data: #"{"seconds":9}"#)
            #expect(try await server.ingest(changed) == "conflicts 1")
            #expect(try await Self.waiting(server) == ["new 1", "new 2", "other 1"])
            #expect(try await Self.waiting(server, query: "?subject=other") == ["other 1"])
            #expect(try await Self.replay(server) == "replayed 0, duplicates 0, conflicts 0, unmatched 3")

            try await Self.register("new", server)
            #expect(try await Self.replay(server) == "replayed 2, duplicates 0, conflicts 0, unmatched 1")
            #expect(try await Self.waiting(server) == ["other 1"])
            #expect(try await server.used("seconds") == "2")
            #expect(try await Self.replay(server) == "replayed 0, duplicates 0, conflicts 0, unmatched 1")
            #expect(try await server.post(Array(events[0...1])).report == "duplicates 2")
            #expect(try await server.used("seconds") == "2")
            #expect(try await server.differences() == [])
        }
    }

    @Test func whatCannotBeMeasuredIsPassedOver() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            let bad = (1...1_200).map { SentEvent("bad\($0)", subject: "new", data: #"{"seconds":"abc"}"#) }
            let good = (1...12).map { SentEvent("good\($0)", subject: "new") }
            #expect(try await server.post(bad + good).report == "unmatched 1212")
            try await Self.register("new", server)
            for left in [1_208, 1_204, 1_200, 1_200] {
                let report = try await server.ask("POST", "/unmatched-events/replay", #"{"limit":4}"#)
                #expect(report["unmatched"]?.number == "\(left)")
            }
            #expect(try await server.used("seconds") == "12")
        }
    }

    @Test func whatWasSentAgainIsNotCountedTwice() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await server.ingest(SentEvent("1", subject: "new"), SentEvent("2", subject: "new"))
            try await Self.register("new", server)
            let again = SentEvent("2", subject: "new", data: #"{"seconds":5}"#)
            #expect(try await server.ingest(SentEvent("1", subject: "new"), again) == "accepted 2")
            #expect(
                try await Self.replay(server, #"{"subject":"new"}"#)
                    == "replayed 0, duplicates 1, conflicts 1, unmatched 0"
            )
            #expect(try await Self.waiting(server) == [])
            #expect(try await server.used("seconds") == "6")
            #expect(try await server.differences() == [])
        }
    }

    @Test func replaysAndResendsAtOnceCountOnce() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            let events = (1...200).map { SentEvent("\($0)", subject: "new") }
            try await server.post(events).expecting(200)
            try await Self.register("new", server)
            let answers = try await withThrowingTaskGroup(of: TestResponse.self) { group in
                for index in 0..<8 {
                    group.addTask {
                        index % 2 == 0
                            ? try await server.operatorClient.post("/api/v1/unmatched-events/replay")
                            : try await server.post(events)
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.allSatisfy { $0.status == 200 }, "\(answers.filter { $0.status != 200 })")
            #expect(try await server.used("seconds") == "200")
            #expect(try await server.differences() == [])
        }
    }

    @Test func anEventThatCannotBeCountedLeavesTheOthersToBe() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            let wide = "[" + Array(repeating: "1", count: 30_000).joined(separator: ",") + "]"
            let events = [
                SentEvent("good", subject: "new"), SentEvent("negative", subject: "new", data: #"{"seconds":-1}"#),
                SentEvent("wide", subject: "new", data: #"{"seconds":2,"list":\#(wide)}"#),
                SentEvent("long", subject: "new", data: #"{"seconds":4,"size":1e400,"small":1e-400}"#),
            ]
            #expect(try await server.post(events).report == "unmatched 4")
            try await Self.register("new", server)
            #expect(try await Self.replay(server) == "replayed 3, duplicates 0, conflicts 0, unmatched 1")
            #expect(try await server.used("seconds") == "7")
            #expect(try await Self.waiting(server) == ["new negative"])
            #expect(try await server.post(Array(events[2...])).report == "duplicates 2")
            let listed = try await server.operatorClient.get("/api/v1/events?tenant=acme").expecting(200)
            #expect(try JSONValue(stored: listed.text)["data"]?.elements?.count == 3)
            #expect(try await server.differences() == [])
        }
    }

    private static let huge = #"{"seconds":"60000000000000000000000000"}"#

    /// A counter that overflows by as much again.
    private static func arrangeFull(_ server: TestServer) async throws {
        try await IngestTests.arrange(server)
        try await server.ingest(SentEvent("0", data: huge))
    }

    @Test func whatOverflowsIsLeftAndTheOthersAreCounted() async throws {
        try await TestServer.run { server in
            try await Self.arrangeFull(server)
            let good = (1...20).map { SentEvent("good\($0)", subject: "new") }
            let bad = ["bad1", "bad2"].map { SentEvent($0, subject: "new", data: Self.huge) }
            #expect(try await server.post(good + bad).report == "unmatched 22")
            try await Self.register("new", server)
            for replayed in [20, 0] {
                let report = try await server.ask("POST", "/unmatched-events/replay")
                #expect(report["replayed"]?.number == "\(replayed)", "\(report.text)")
                #expect(report["unmatched"]?.number == "2" && report["overflowing"]?.number == "2", "\(report.text)")
            }
            #expect(try await Self.waiting(server) == ["new bad1", "new bad2"])
            #expect(try await server.used("seconds") == "60000000000000000000000020")
            #expect(try await server.differences() == [])
        }
    }

    /// Each begins elsewhere.
    @Test func replaysOfOneEventAtATimeComeToThoseBehindTheOnesThatOverflow() async throws {
        try await TestServer.run { server in
            try await Self.arrangeFull(server)
            let good = (1...3).map { SentEvent("good\($0)", subject: "new") }
            let bad = (1...3).map { SentEvent("bad\($0)", subject: "new", data: Self.huge) }
            #expect(try await server.post(good + bad).report == "unmatched 6")
            try await Self.register("new", server)
            let areCounted = try await eventually {
                try await server.ask("POST", "/unmatched-events/replay", #"{"limit":1}"#)["unmatched"]?.number == "3"
            }
            #expect(areCounted)
            #expect(try await Self.waiting(server) == ["new bad1", "new bad2", "new bad3"])
        }
    }

    @Test func aReplayInPartsIsAnsweredOnceForItsKey() async throws {
        try await TestServer.run { server in
            try await Self.arrangeFull(server)
            try await server.ingest(
                SentEvent("good", subject: "new"),
                SentEvent("bad", subject: "new", data: Self.huge)
            )
            try await Self.register("new", server)
            for _ in 1...2 {
                let answer = try await server.operatorClient.post(
                    "/api/v1/unmatched-events/replay",
                    headers: ["Idempotency-Key": "once"]
                )
                #expect(answer.status == 200 && answer.json["replayed"]?.number == "1", "\(answer)")
                #expect(answer.json["overflowing"]?.number == "1", "\(answer)")
            }
        }
    }

    @Test func aBoundKeySeesNone() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await server.ingest(SentEvent("1", subject: "new"))
            let bound = try await server.client([.eventsRead, .eventsWrite], tenant: "acme")
            #expect(try await bound.get("/api/v1/unmatched-events").text == #"{"data":[],"next_cursor":null}"#)
            #expect(try await bound.post("/api/v1/unmatched-events/replay").status == 403)
        }
    }

    @Test func pagesTileTheList() async throws {
        try await TestServer.run { server in
            try await server.post((1...5).map { SentEvent("\($0)", subject: "new") }).expecting(200)
            var seen: [String] = []
            var cursor = ""
            repeat {
                let page = try await server.ask("GET", "/unmatched-events?limit=2\(cursor)")
                seen += (page["data"]?.elements ?? []).compactMap { $0["id"]?.string }
                cursor = page["next_cursor"]?.string.map { "&cursor=\($0)" } ?? ""
            } while !cursor.isEmpty && seen.count < 10
            #expect(seen.sorted() == ["1", "2", "3", "4", "5"])
        }
    }
}
