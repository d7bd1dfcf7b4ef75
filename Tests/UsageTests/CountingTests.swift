import TestSupport
import Testing
import Web

/// Exact values of counters, charges and limits, through arrival in any order and through voids.
@Suite struct CountingTests {
    private static let aggregations = [
        ("total", "sum"), ("calls", "count"), ("peak", "max"), ("level", "latest"), ("workers", "unique_count"),
    ]

    /// One feature of each aggregation over `value`, priced at one unit each.
    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme", zone: "Europe/Berlin")
        for (key, aggregation) in aggregations {
            try await server.addFeature(key, aggregation, of: aggregation == "count" ? nil : "value")
        }
        let charges = aggregations.map {
            #"{"feature":"\#($0.0)","price":{"model":"per_unit","unit_amount":"1"}}"#
        }
        let quotas = ["billing_period", "day", "lifetime"].map {
            #"{"feature":"total","limit":"100","window":"\#($0)"}"#
        }
        try await server.publish(
            #"{"charges":[\#(charges.joined(separator: ","))],"quotas":[\#(quotas.joined(separator: ","))]}"#
        )
        try await server.subscribe(at: "2026-11-01T00:00:00Z")
    }

    private static func event(_ id: String, _ value: String, at minute: Int, source: String = "gw") -> SentEvent {
        let digits = minute < 10 ? "0\(minute)" : "\(minute)"
        return SentEvent(id, source: source, time: "2026-11-23T07:\(digits):00Z", data: #"{"value":\#(value)}"#)
    }

    /// The quantities in the order of `aggregations`.
    private static func quantities(_ server: TestServer) async throws -> [String] {
        try await server.invoiced().map { line in String(line.split(separator: " ")[1]) }
    }

    @Test func everyAggregationIsExact() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(
                Self.event("1", "0.1", at: 1),
                Self.event("2", "0.2", at: 2),
                Self.event("3", "0.1", at: 3)
            )
            #expect(
                try await server.invoiced() == [
                    "total 0.4 = 0.40", "calls 3 = 3.00", "peak 0.2 = 0.20", "level 0.1 = 0.10", "workers 2 = 2.00",
                ]
            )
            #expect(try await server.differences() == [])
        }
    }

    @Test func theLatestIsByTimeThenByID() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            func level() async throws -> String { try await Self.quantities(server)[3] }
            try await server.ingest(Self.event("m", "1", at: 30))
            #expect(try await level() == "1")
            try await server.ingest(Self.event("z", "2", at: 29))
            #expect(try await level() == "1")
            try await server.ingest(Self.event("a", "3", at: 30))
            #expect(try await level() == "1")
            try await server.ingest(Self.event("n", "4", at: 30))
            #expect(try await level() == "4")
            try await server.ingest(Self.event("b", "5", at: 31), Self.event("c", "6", at: 28))
            #expect(try await level() == "5")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aTieOfTimeAndIDIsDecidedAlikeInAnyOrderOfArrival() async throws {
        var levels: Set<String> = []
        for sources in [["z", "a"], ["a", "z"]] {
            try await TestServer.run { server in
                try await Self.arrange(server)
                for source in sources {
                    let value = source == "a" ? "1" : "2"
                    try await server.ingest(Self.event("same", value, at: 30, source: source))
                }
                levels.insert(try await Self.quantities(server)[3])
                #expect(try await server.differences() == [])
            }
        }
        #expect(levels.count == 1)
    }

    @Test func equalPeaksAreRebuiltAlike() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(Self.event("later", "5", at: 20))
            try await server.ingest(Self.event("earlier", "5", at: 10))
            #expect(try await server.differences() == [])
            _ = try await server.void("later")
            #expect(try await Self.quantities(server)[2] == "5")
            _ = try await server.void("earlier")
            #expect(try await Self.quantities(server)[2] == "0")
            #expect(try await server.differences() == [])
        }
    }

    /// Events of other types feed none of the voided event's counters.
    @Test func aVoidedPeakIsRecountedFromEventsOfItsType() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.addFeature("other", type: "disk.used")
            try await server.ingest(
                Self.event("1", "4", at: 1),
                Self.event("2", "9", at: 2),
                SentEvent("3", type: "disk.used"),
                SentEvent("4", type: "disk.used")
            )
            // Whoever counted these would find more than can be counted.
            try await server.database.run(
                #"UPDATE usage_event SET data = '{"seconds":6e25}' WHERE event_type = 'disk.used'"#
            )
            _ = try await server.void("2")
            #expect(try await Self.quantities(server)[2] == "4")
        }
    }

    @Test func aVoidTakesTheEventOutOfEveryAggregation() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(
                Self.event("1", "4", at: 1),
                Self.event("2", "9", at: 2),
                Self.event("3", "4", at: 3),
                Self.event("4", "7", at: 4)
            )
            let whole = try await Self.quantities(server)
            #expect(whole == ["24", "4", "9", "7", "3"])
            let voided = try await server.void("2")
            #expect(voided.text == #"{"id":"2","source":"gw","status":"voided","tenant":"acme"}"#)
            let withoutThePeak = try await Self.quantities(server)
            #expect(withoutThePeak == ["15", "3", "7", "7", "2"])
            _ = try await server.void("4")
            let withoutTheLatest = try await Self.quantities(server)
            #expect(withoutTheLatest == ["8", "2", "4", "4", "1"])
            _ = try await server.void("1")
            let one = try await Self.quantities(server)
            #expect(one == ["4", "1", "4", "4", "1"])
            _ = try await server.void("3")
            let none = try await Self.quantities(server)
            #expect(none == ["0", "0", "0", "0", "0"])
            #expect(try await server.differences() == [])
            try await server.ingest(Self.event("5", "4", at: 5))
            let again = try await Self.quantities(server)
            #expect(again == ["4", "1", "4", "4", "1"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func usedFallsInEveryWindowOfTheVoidedEvent() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            func used() async throws -> [String?] {
                var used: [String?] = []
                for window in ["billing_period", "day", "lifetime"] {
                    used.append(try await server.used("total", window: window))
                }
                return used
            }
            try await server.ingest(
                SentEvent("yesterday", time: "2026-11-22T22:59:59Z", data: #"{"value":10}"#),
                SentEvent("today", time: "2026-11-22T23:00:00Z", data: #"{"value":2}"#),
                SentEvent("october", time: "2026-10-31T23:30:00Z", data: #"{"value":50}"#)
            )
            let before = try await used()
            #expect(before == ["12", "2", "62"])
            _ = try await server.void("today")
            let without = try await used()
            #expect(without == ["10", "0", "60"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func voidingTwiceVoidsOnce() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(Self.event("1", "4", at: 1), Self.event("2", "1", at: 2))
            let statuses = try await withThrowingTaskGroup(of: String?.self) { group in
                for _ in 1...8 {
                    group.addTask { try await server.void("1")["status"]?.string }
                }
                return try await group.reduce(into: []) { $0.append($1 ?? "?") }
            }
            #expect(statuses.sorted() == Array(repeating: "already_voided", count: 7) + ["voided"])
            let left = try await Self.quantities(server)
            #expect(left == ["1", "1", "1", "1", "1"])
            #expect(try await server.ask("GET", "/audit-log?action=event.voided")["data"]?.elements?.count == 1)
            #expect(try await server.ingest(Self.event("1", "4", at: 1)) == "duplicates 1")
            #expect(try await server.differences() == [])
        }
    }

    @Test func anUnknownEventCannotBeVoided() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.addTenant("beta")
            try await server.ingest(Self.event("1", "4", at: 1))
            let absent = try await server.void("none", expecting: 404)
            #expect(absent["code"]?.string == "event_not_found")
            #expect(try await server.void("1", source: "other", expecting: 404)["code"]?.string == "event_not_found")
            #expect(try await server.void("1", tenant: "beta", expecting: 404)["code"]?.string == "event_not_found")
            #expect(try await server.void("1", tenant: "nobody", expecting: 404)["code"]?.string == "tenant_not_found")
            let bound = try await server.client([.eventsWrite], tenant: "beta")
            let body = #"{"source":"gw","id":"1","tenant":"acme"}"#
            #expect(try await bound.post("/api/v1/events/void", body).code == "tenant_not_found")
            #expect(try await server.differences() == [])
        }
    }

    @Test func amendingIsAVoidAndANewID() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            try await server.ingest(Self.event("1", "40", at: 1))
            _ = try await server.void("1")
            #expect(try await server.ingest(Self.event("1-amended", "4", at: 1)) == "accepted 1")
            let amended = try await Self.quantities(server)
            #expect(amended == ["4", "1", "4", "4", "1"])
            #expect(try await server.used("total", window: "day") == "4")
            #expect(try await server.differences() == [])
        }
    }
}
