import TestSupport
import Testing
import Web

/// `GET /events`: the raw log.
@Suite struct EventLogTests {
    private static func arrange(_ server: TestServer) async throws {
        try await server.addTenant("acme")
        try await server.addTenant("beta")
        try await server.ingest(
            SentEvent("1", time: "2026-11-01T00:00:00Z", data: #"{"user":"u1","model":"m1","input_tokens":5}"#),
            SentEvent("2", source: "gw-2", time: "2026-11-02T00:00:00Z", data: #"{"user":"u2","model":"m1"}"#),
            SentEvent("3", type: "disk.used", time: "2026-10-25T00:00:00Z", data: #"{"user":"u1","note":"x"}"#),
            SentEvent("4", subject: "beta", time: "2026-11-03T00:00:00Z"),
            SentEvent("5", time: "2026-11-01T00:00:00Z", data: #"{"user":"u1","model":"m2"}"#)
        )
    }

    private static func ids(_ server: TestServer, _ query: String, as client: TestClient? = nil) async throws
        -> [String]
    {
        let list = try await server.ask("GET", "/events?\(query)", as: client)
        return (list["data"]?.elements ?? []).compactMap { $0["id"]?.string }
    }

    @Test func theNewestComeFirstAndFiltersNarrow() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            #expect(try await Self.ids(server, "tenant=acme") == ["2", "5", "1", "3"])
            #expect(try await Self.ids(server, "tenant=acme&user=u1") == ["5", "1", "3"])
            #expect(try await Self.ids(server, "tenant=acme&model=m1") == ["2", "1"])
            #expect(try await Self.ids(server, "tenant=acme&type=disk.used") == ["3"])
            #expect(try await Self.ids(server, "tenant=acme&source=gw-2") == ["2"])
            let november = "from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z"
            #expect(try await Self.ids(server, "tenant=acme&\(november)") == ["5", "1"])
        }
    }

    @Test func anEventIsShownAsItWasNormalised() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let list = try await server.ask("GET", "/events?tenant=acme&type=disk.used")
            let event = try #require(list["data"]?[0])
            #expect(event["data"]?.text == #"{"user":"u1","note":"x"}"#)
            #expect(event["time"]?.string == "2026-10-25T00:00:00.000000Z")
            #expect(event["received_at"]?.string == "2026-11-23T08:00:00.000000Z")
            #expect(event["reversal_of"]?.isNull == true)
        }
    }

    @Test func aReversalStandsBesideItsOriginal() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            _ = try await server.void("2", source: "gw-2")
            let list = try await server.ask("GET", "/events?tenant=acme&source=gw-2")
            let reversals = (list["data"]?.elements ?? []).map { $0["reversal_of"]?.string }
            #expect(reversals == ["2", nil])
            #expect(try await server.differences() == [])
        }
    }

    /// By source and id an event is found, and what takes it back, at the time of its key: nothing else of the log is
    /// read for it.
    @Test func anEventIsFoundByItsKey() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let event = "tenant=acme&source=gw-2&id=2"
            #expect(try await Self.ids(server, event) == ["2"])
            #expect(try await Self.ids(server, "tenant=acme&source=gw&id=2") == [])
            #expect(try await Self.ids(server, "tenant=beta&source=gw-2&id=2") == [])
            #expect(try await Self.ids(server, "\(event)&from=2026-11-02T00:00:01Z") == [])
            _ = try await server.void("2", source: "gw-2")
            let own = try await server.client([.eventsRead], tenant: "acme")
            for client in [server.operatorClient, own] {
                #expect(try await Self.ids(server, event, as: client) == ["2", "2"])
            }
            try await server.database.run("UPDATE event_dedup SET event_time = event_time + interval '1 second'")
            #expect(try await Self.ids(server, event) == [])
        }
    }

    @Test func pagesTileTheLog() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            var seen: [String] = []
            var cursor = ""
            repeat {
                let page = try await server.ask("GET", "/events?tenant=acme&limit=1\(cursor)")
                seen += (page["data"]?.elements ?? []).compactMap { $0["id"]?.string }
                cursor = page["next_cursor"]?.string.map { "&cursor=\($0)" } ?? ""
            } while !cursor.isEmpty && seen.count < 10
            #expect(seen == ["2", "5", "1", "3"])
        }
    }

    @Test func aBoundKeySeesItsOwnOnly() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let bound = try await server.client([.eventsRead], tenant: "beta")
            #expect(try await Self.ids(server, "", as: bound) == ["4"])
            #expect(try await bound.get("/api/v1/events?tenant=acme").status == 404)
            let unnamed = try await server.operatorClient.get("/api/v1/events")
            #expect(unnamed.status == 400)
            #expect(unnamed.pointers == ["?tenant"])
        }
    }

    @Test("what a gateway reports as the provider's cost is the operator's to see")
    func reportedCosts() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let event = """
                {"id":"c","source":"gw","type":"disk.used","subject":"beta","data":{"cost":"0.000225","note":"x"}}
                """
            try await server.ask("POST", "/events", event)
            let path = "/api/v1/events?tenant=beta&source=gw"
            let bound = try await server.client([.eventsRead], tenant: "beta")
            for (client, data) in [
                (server.operatorClient, #"{"cost":"0.000225","note":"x"}"#), (bound, #"{"note":"x"}"#),
            ] {
                let answer = try await client.get(path)
                #expect(answer.json["data"]?[0]?["data"]?.text == data)
            }
        }
    }

    /// Events of one feature with what each was measured as, as of a place in the log.
    private static func counted(_ server: TestServer, _ query: String) async throws -> [String] {
        let list = try await server.ask("GET", "/events?tenant=acme&\(query)")
        return (list["data"]?.elements ?? []).map { "\($0["id"]?.string ?? "?") \($0["quantity"]?.string ?? "-")" }
    }

    @Test func aFeaturesEventsAreThoseItCounted() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            let meter = #"{"key":"a100","event_type":"job.done","aggregation":"sum","value":"seconds","#
            let filters = #""filters":[{"property":"pool","in":["a100"]}]}"#
            try await server.ask("POST", "/meters", meter + filters, expecting: 201)
            try await server.ask("POST", "/features", #"{"key":"a100","meter":"a100","unit":"s"}"#, expecting: 201)
            try await server.ingest(
                SentEvent("1", data: #"{"seconds":1.5,"pool":"a100"}"#),
                SentEvent("2", data: #"{"seconds":2,"pool":"h100"}"#),
                SentEvent("3", data: #"{"pool":"a100"}"#),
                SentEvent("4", type: "disk.used", data: #"{"seconds":9}"#),
                SentEvent("5", data: #"{"seconds":4}"#)
            )
            #expect(try await Self.counted(server, "feature=seconds") == ["5 4", "2 2", "1 1.5"])
            #expect(try await Self.counted(server, "feature=a100") == ["1 1.5"])
            _ = try await server.void("1")
            #expect(try await Self.counted(server, "feature=seconds") == ["5 4", "2 2"])
            // As it was before the void, and before the last event.
            #expect(try await Self.counted(server, "feature=seconds&through_ledger_seq=4") == ["2 2", "1 1.5"])
            #expect(try await Self.counted(server, "feature=seconds&id=2") == ["2 2"])
            #expect(try await Self.counted(server, "id=2") == ["2 -"])
            let absent = try await server.operatorClient.get("/api/v1/events?tenant=acme&feature=none")
            #expect(absent.status == 400)
            #expect(absent.pointers == ["?feature"])
        }
    }

    /// Rows that the feature did not count don't end the list, and none is given twice.
    @Test func aFeaturesEventsArePagedThroughRowsOfOthers() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            for start in [0, 1_500] {
                let events = (start..<start + 1_500).map { index in
                    SentEvent("\(index)", data: index.isMultiple(of: 500) ? #"{"seconds":1}"# : "{}")
                }
                try await server.post(events).expecting(200)
            }
            var ids: [String] = []
            var cursor: String? = ""
            var pages = 0
            while let next = cursor, pages < 10 {
                let more = next.isEmpty ? "" : "&cursor=\(next)"
                let list = try await server.ask("GET", "/events?tenant=acme&feature=seconds&limit=2\(more)")
                ids += (list["data"]?.elements ?? []).compactMap { $0["id"]?.string }
                cursor = list["next_cursor"]?.string
                pages += 1
            }
            #expect(ids == ["2500", "2000", "1500", "1000", "500", "0"])
        }
    }
}
