import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Usage

/// Requests that share a flush, a queue, or the bounds of a counter.
@Suite(.timeLimit(.minutes(15))) struct IngestFlushTests {
    private static let huge = #"{"seconds":"60000000000000000000000000"}"#

    @Test func requestsThatWaitAreStoredTogether() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await IngestFixture.use(server) { ingest in
                async let first = ingest.send(SentEvent("1"), SentEvent("shared"))
                #expect(try await ingest.waits(for: 1))
                async let second = ingest.send(SentEvent("shared"), SentEvent("2", data: #"{"seconds":5}"#))
                #expect(try await ingest.waits(for: 2))
                async let third = ingest.send(SentEvent("shared", data: #"{"seconds":9}"#), SentEvent("3"))
                #expect(try await ingest.waits(for: 3))
                try await ingest.flush()
                #expect(await first == "accepted 2")
                #expect(await second == "accepted 1, duplicates 1")
                #expect(await third == "accepted 1, conflicts 1")
            }
            #expect(try await server.used("seconds") == "8")
            let writers = try await server.column("SELECT DISTINCT xmin::text FROM usage_event")
            #expect(writers.count == 1)
            #expect(try await server.differences() == [])
        }
    }

    @Test func oneBadRequestDoesNotFailItsNeighbours() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await IngestFixture.use(server) { ingest in
                async let first = ingest.send(SentEvent("1"))
                #expect(try await ingest.waits(for: 1))
                async let bad = ingest.send(SentEvent("bad-1", data: Self.huge), SentEvent("bad-2", data: Self.huge))
                #expect(try await ingest.waits(for: 2))
                async let second = ingest.send(SentEvent("2"), SentEvent("nobody", subject: "nobody"))
                #expect(try await ingest.waits(for: 3))
                async let third = ingest.send(SentEvent("1"), SentEvent("3"))
                #expect(try await ingest.waits(for: 4))
                try await ingest.flush()
                #expect(await first == "accepted 1")
                #expect(await bad == "counter_overflow")
                #expect(await second == "accepted 1, unmatched 1")
                #expect(await third == "accepted 1, duplicates 1")
            }
            #expect(try await server.used("seconds") == "3")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aFullQueueRefusesAtOnce() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await IngestFixture.use(server, configure: { $0.queuedEvents = 3 }) { ingest in
                async let first = ingest.send(SentEvent("1"), SentEvent("2"))
                #expect(try await ingest.waits(for: 1))
                #expect(await ingest.send(SentEvent("3"), SentEvent("nobody-1", subject: "nobody")) == "overloaded")
                async let second = ingest.send(SentEvent("nobody-2", subject: "nobody"))
                #expect(try await ingest.waits(for: 2))
                #expect(await ingest.send(SentEvent("nobody-3", subject: "nobody")) == "overloaded")
                try await ingest.flush()
                #expect(await first == "accepted 2")
                #expect(await second == "unmatched 1")
            }
            #expect(try await server.used("seconds") == "2")
        }
    }

    /// Requests of few events share a lane whatever their tenants, until it is crowded; others go to their tenants'.
    @Test func fewEventsAreGatheredInOneLane() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            _ = try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            let lane = try await server.column("SELECT (tenant_id % 2)::text FROM tenant WHERE key IN ('acme', 'beta')")
            #expect(Set(lane) == ["0", "1"])
            try await IngestFixture.use(
                server,
                configure: {
                    $0.lanes = 2
                    $0.queuedEvents = 32
                }
            ) { ingest in
                func waiting() -> [Int] { ingest.service.lanes.map(\.waitingCount) }
                async let first = ingest.send(SentEvent("1"), SentEvent("2", subject: "beta"))
                #expect(try await ingest.waits(for: 1))
                async let second = ingest.send(SentEvent("3", subject: "beta"))
                #expect(try await ingest.waits(for: 2))
                #expect(waiting() == [2, 0])
                let many = (1...6).flatMap { [SentEvent("a\($0)"), SentEvent("b\($0)", subject: "beta")] }
                async let third = ingest.send(many)
                #expect(try await ingest.waits(for: 4))
                #expect(waiting() == [3, 1])
                // More than half of what may wait does.
                async let fourth = ingest.send((4...9).map { SentEvent("\($0)") } + [SentEvent("10", subject: "beta")])
                #expect(try await ingest.waits(for: 5))
                async let fifth = ingest.send(SentEvent("11"), SentEvent("12", subject: "beta"))
                #expect(try await ingest.waits(for: 7))
                #expect(waiting() == [5, 2])
                try await ingest.flush()
                #expect(await first == "accepted 2")
                #expect(await second == "accepted 1")
                #expect(await third == "accepted 12")
                #expect(await fourth == "accepted 7")
                #expect(await fifth == "accepted 2")
            }
            #expect(try await server.differences() == [])
        }
    }

    /// Of each tenant of `arrange`, in lanes of their own; the first of acme has no number of pages.
    private static let ofTwoLanes = (1...6).flatMap { index -> [SentEvent] in
        let pages = index == 1 ? "many" : "2"
        return [
            SentEvent("\(index)", data: #"{"seconds":1,"pages":"\#(pages)"}"#),
            SentEvent("\(index)", subject: "beta"),
        ]
    }

    private static func storesEvents(_ count: Int, _ server: TestServer) async throws -> Bool {
        try await eventually { try await server.column("SELECT count(*)::text FROM usage_event") == ["\(count)"] }
    }

    @Test func aMeterThatIsMadeMeanwhileRefusesItsShareOfARequest() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            _ = try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            try await IngestFixture.use(server, configure: { $0.lanes = 2 }) { ingest in
                async let refusal = ingest.refusal(of: Self.ofTwoLanes)
                #expect(try await ingest.waits(for: 2))
                try await server.addFeature("pages", of: "pages")
                try await ingest.flush()
                let told = await refusal ?? "nothing"
                #expect(told.contains("Some of the others have been stored"), "\(told)")
            }
            #expect(try await Self.storesEvents(6, server))
            #expect(try await server.used("seconds") == "0")
            #expect(try await server.differences() == [])
        }
    }

    @Test func lenientlyOnlyThatShareIsTriedAgain() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            _ = try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            try await IngestFixture.use(server, configure: { $0.lanes = 2 }) { ingest in
                async let report = ingest.send(Self.ofTwoLanes, isLenient: true)
                #expect(try await ingest.waits(for: 2))
                try await server.addFeature("pages", of: "pages")
                let isStored = try await ingest.flushing { try await Self.storesEvents(11, server) }
                #expect(isStored)
                let told = await report
                // Nobody has a price for pages.
                #expect(told == "accepted 11, unpriced 5, rejected 1")
            }
            #expect(try await server.used("seconds") == "5")
            #expect(try await server.differences() == [])
        }
    }

    /// However much may wait, 250 events are enough for a flush: what comes then takes other lanes.
    @Test func aLaneIsCrowdedWithTwoHundredAndFiftyEvents() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await IngestFixture.use(server, configure: { $0.lanes = 1 }) { ingest in
                async let first = ingest.send((1...249).map { SentEvent("\($0)") })
                #expect(try await ingest.waits(for: 1))
                #expect(!ingest.service.lanes[0].isCrowded)
                async let second = ingest.send(SentEvent("250"))
                #expect(try await ingest.waits(for: 2))
                #expect(ingest.service.lanes[0].isCrowded)
                try await ingest.flush()
                #expect(await first == "accepted 249")
                #expect(await second == "accepted 1")
            }
        }
    }

    /// A lane that waits for rows which somebody has locked gathers nothing more, so others are stored meanwhile.
    @Test func lockedRowsHoldUpTheirOwnLane() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            _ = try await server.subscribe("beta", at: "2026-11-01T00:00:00Z")
            let inOrder = try await server.column(
                "SELECT key FROM tenant WHERE key IN ('acme', 'beta') ORDER BY tenant_id % 2"
            )
            let (held, other) = (try #require(inOrder[0]), try #require(inOrder[1]))
            try await IngestFixture.use(server, configure: { $0.lanes = 2 }) { ingest in
                let answers = try await ingest.flushing {
                    // Billing periods are made before anything is held.
                    let first = await ingest.send(SentEvent("0", subject: held), SentEvent("0", subject: other))
                    #expect(first == "accepted 2")
                    return try await withThrowingTaskGroup(of: String.self) { group in
                        let stored = try await server.holding(
                            """
                            UPDATE usage_counter SET quantity = quantity
                            WHERE tenant_id = (SELECT tenant_id FROM tenant WHERE key = \(held))
                            """
                        ) {
                            group.addTask { await ingest.send(SentEvent("1", subject: held)) }
                            let isStalled = try await eventually { ingest.service.lanes[0].isCrowded }
                            #expect(isStalled)
                            return await ingest.send(SentEvent("2", subject: other))
                        }
                        return try await group.reduce(into: [stored]) { $0.append($1) }
                    }
                }
                #expect(answers == ["accepted 1", "accepted 1"])
                #expect(ingest.service.lanes.map(\.isCrowded) == [false, false])
            }
            #expect(try await server.differences() == [])
        }
    }

    @Test func aRequestLargerThanTheQueuePassesAnEmptyOne() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            try await IngestFixture.use(server, configure: { $0.queuedEvents = 1 }) { ingest in
                let report = try await ingest.flushing { await ingest.send(SentEvent("1"), SentEvent("2")) }
                #expect(report == "accepted 2")
            }
        }
    }

    @Test func theRefusalTellsWhenToComeBack() async throws {
        try await TestServer.run(configure: {
            $0.ingestQueueEvents = 1
            $0.ingestConnections = 1
        }) { server in
            try await IngestTests.arrange(server)
            try await server.ingest(SentEvent("0"))
            let answers = try await withThrowingTaskGroup(of: TestResponse.self) { group in
                var answers: [TestResponse] = []
                try await server.holdingLedger(of: "acme") {
                    for index in 1...6 {
                        group.addTask { try await server.post([SentEvent("\(index)")]) }
                    }
                    // One is being stored and one waits; the others must be answered while the ledger is held.
                    for _ in 1...4 {
                        if let answer = try await group.next() { answers.append(answer) }
                    }
                }
                return try await group.reduce(into: answers) { $0.append($1) }
            }
            let refused = answers.filter { $0.status == 503 }
            #expect(answers.prefix(4).allSatisfy { $0.status == 503 })
            #expect(refused.allSatisfy { $0.header("Retry-After") != nil && $0.code == "overloaded" })
            #expect(answers.count { $0.status == 200 } == 6 - refused.count)
            #expect(try await server.used("seconds") == "\(7 - refused.count)")
            #expect(try await server.differences() == [])
        }
    }

    @Test("what is held of a limit on charges and used can leave the range of an amount: that is its request's fault")
    func aHoldBesideUseCannotLeaveItsRange() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addTenant("beta")
            try await server.addFeature("seconds")
            let price = #"{"model":"per_unit","unit_amount":"0.01"}"#
            try await server.publish(#"{"charges":[{"feature":"seconds","price":\#(price)}]}"#)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let budget = #"{"key":"b","scope":{"tenant":"acme"},"measure":"charge","amount":"1","currency":"USD","#
            try await server.ask("POST", "/budgets", budget + #""window":"month","mode":"soft"}"#, expecting: 201)
            let call = #"{"subject":"acme","type":"job.done","source":"gw","id":"1","data":\#(Self.huge)}"#
            #expect(try await server.ask("POST", "/admissions", call)["allowed"] == .bool(true))
            try await IngestFixture.use(server) { ingest in
                async let bad = ingest.send(SentEvent("bad", data: Self.huge))
                #expect(try await ingest.waits(for: 1))
                async let neighbour = ingest.send(SentEvent("1", subject: "beta"))
                #expect(try await ingest.waits(for: 2))
                try await ingest.flush()
                #expect(await bad == "counter_overflow")
                #expect(await neighbour == "accepted 1, unsubscribed 1")
            }
        }
    }

    @Test("a limit over all tenants that is full to the end of its range keeps nobody's usage from being stored")
    func aSharedLimitIsNoneOfOthersTrouble() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            let budget = #"{"key":"b","scope":{"feature":"seconds"},"measure":"units","amount":"1","#
            try await server.ask("POST", "/budgets", budget + #""window":"month","mode":"soft"}"#, expecting: 201)
            #expect(try await server.ingest(SentEvent("1", data: Self.huge)) == "accepted 1")
            for event in [SentEvent("2", subject: "beta", data: Self.huge), SentEvent("3", subject: "beta")] {
                #expect(try await server.ingest(event).hasPrefix("accepted 1"))
            }
            let used: SQL = "SELECT trim_scale(used)::text FROM limit_state WHERE tenant_id = 0"
            #expect(try await server.column(used) == ["99999999999999999999999999.999999999999"])
            // What was held beyond that is freed again, by whoever held it.
            var held: [String] = []
            try await server.addTenant("gamma")
            for (subject, seconds) in [("beta", #""99999999999999999999999999""#), ("gamma", "5")] {
                let data = #"{"seconds":\#(seconds)}"#
                let call = #"{"subject":"\#(subject)","type":"job.done","source":"gw","id":"1","data":\#(data)}"#
                let answer = try await server.ask("POST", "/admissions", call)
                held.append(try #require(answer["reservation"]?["id"]?.string, "\(answer)"))
            }
            // Nor does it keep anybody from asking, whatever for.
            let dry = #"{"subject":"gamma","type":"job.done","source":"gw","id":"2","data":{"seconds":5},"dry_run":"#
            #expect(try await server.ask("POST", "/admissions", dry + "true}")["allowed"] == .bool(true))
            try await server.ask("POST", "/admissions/\(held[0])/release")
            try await server.ask("POST", "/admissions/\(held[1])/release")
            // A change of it is no trouble either.
            try await server.ask("PATCH", "/budgets/b", #"{"amount":"2"}"#)
        }
    }

    @Test func aCounterCannotLeaveItsRange() async throws {
        try await TestServer.run { server in
            try await IngestTests.arrange(server)
            #expect(try await server.ingest(SentEvent("1", data: Self.huge)) == "accepted 1")
            let answer = try await server.post([SentEvent("2"), SentEvent("3", data: Self.huge)])
            #expect(answer.status == 422)
            #expect(answer.code == "counter_overflow")
            #expect(try await server.used("seconds") == "60000000000000000000000000")
            #expect(try await server.ingest(SentEvent("2")) == "accepted 1")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aChargeCannotLeaveItsRange() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(
                #"{"charges":[{"feature":"seconds","price":{"model":"per_unit","unit_amount":"100"}}]}"#
            )
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            #expect(try await server.post([SentEvent("1", data: Self.huge)]).code == "counter_overflow")
            #expect(try await server.invoiced() == ["seconds 0 = 0.00"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func aWindowCannotLeaveItsRange() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish(#"{"quotas":[{"feature":"seconds","limit":"1","window":"lifetime"}]}"#)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            let october = SentEvent("1", time: "2026-10-31T00:00:00Z", data: Self.huge)
            #expect(try await server.ingest(october) == "accepted 1, unsubscribed 1")
            let november = try await server.post([SentEvent("2", data: Self.huge)])
            #expect(november.status == 422)
            #expect(november.code == "counter_overflow")
            #expect(try await server.differences() == [])
        }
    }

    @Test func aSubscriptionThatWouldOverflowIsNotMade() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            try await server.publish("{}")
            try await server.ingest(SentEvent("1", data: Self.huge))
            try await server.ingest(SentEvent("2", data: Self.huge))
            let body = #"{"tenant":"acme","plan":"pro","starts_at":"2026-11-01T00:00:00Z"}"#
            let answer = try await server.operatorClient.post("/api/v1/subscriptions", body)
            #expect(answer.status == 422)
            #expect(answer.code == "counter_overflow")
            #expect(try await server.ask("GET", "/subscriptions")["data"] == .array([]))
            #expect(try await server.differences() == [])
        }
    }
}
