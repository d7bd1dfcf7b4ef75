import Postgres
import TestSupport
import Testing
import Web

/// What a credential is narrowed to, and whom its usage is attributed to, at ingest.
@Suite struct NarrowedIngestTests {
    private static func narrowed(_ server: TestServer, _ members: String) async throws -> TestClient {
        let body = #"{"name":"n","scopes":["events:write","events:read"],\#(members)}"#
        let made = try await server.operatorClient.post("/api/v1/api-keys", body).expecting(201)
        return server.anonymous.with(key: made.json["key"]?.string)
    }

    private static func event(_ id: String, _ data: String) -> SentEvent {
        SentEvent(id, data: data)
    }

    @Test func whatIsBeyondTheNarrowingIsRefusedAndNothingIsStored() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let members = #""models":["gpt-4o*","o3"],"features":["chat","caf\u00e9"],"data_classes":["public"]"#
            let client = try await Self.narrowed(server, members)
            let allowed = #"{"model":"gpt-4o-mini","feature":"chat","data_class":"public"}"#
            #expect(try await server.post([Self.event("1", allowed)], as: client).report == "accepted 1, unmetered 1")
            let cases = [
                (#"{"model":"gpt-4","feature":"chat","data_class":"public"}"#, ["model"]),
                (#"{"model":"o3-mini","feature":"chat","data_class":"public"}"#, ["model"]),
                (#"{"feature":"chat","data_class":"public"}"#, ["model"]),
                (#"{"model":"o3","feature":"search","data_class":"public"}"#, ["feature"]),
                (#"{"model":"o3","data_class":"public"}"#, ["feature"]),
                (#"{"model":"o3","feature":"cafe\u0301","data_class":"public"}"#, ["feature"]),
                (#"{"model":"o3","feature":"chat","data_class":"secret"}"#, ["data_class"]),
                (#"{"model":"o3","feature":"chat"}"#, ["data_class"]),
                ("{}", ["model", "feature", "data_class"]),
            ]
            for (data, beyond) in cases {
                let answer = try await server.post([Self.event("2", allowed), Self.event("3", data)], as: client)
                #expect(answer.status == 403)
                #expect(answer.code == "use_not_allowed")
                #expect(answer.pointers == beyond.map { "/1/data/\($0)" })
                let codes = answer.json["errors"]?.elements?.compactMap { $0["code"]?.string }
                #expect(codes == beyond.map { "\($0)_not_allowed" })
            }
            #expect(try await server.column("SELECT event_id FROM usage_event") == ["1"])

            let lenient = try await server.post(
                [Self.event("2", allowed), Self.event("3", "{}")],
                as: client,
                lenient: true
            ).expecting(200)
            #expect(lenient.report == "accepted 1, unmetered 1, rejected 1")
            #expect(lenient.text.contains("model_not_allowed"))
            #expect(try await server.column("SELECT event_id FROM usage_event ORDER BY event_id") == ["1", "2"])
        }
    }

    @Test func aNarrowedCredentialTakesBackOnlyWhatItMightHaveSent() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.ingest(Self.event("1", #"{"model":"o3"}"#), Self.event("2", #"{"model":"gpt-4o"}"#))
            let client = try await Self.narrowed(server, #""models":["o3"]"#)
            let void = { (id: String) in #"{"source":"gw","id":"\#(id)","tenant":"acme"}"# }
            let refused = try await client.post("/api/v1/events/void", void("2"))
            #expect(refused.status == 403)
            #expect(refused.code == "use_not_allowed")
            #expect(try await client.post("/api/v1/events/void", void("1")).status == 200)
        }
    }

    @Test func usageBearsTheCredentialAndItsCostCentreWhateverTheEventSays() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let client = try await Self.narrowed(server, #""cost_center":"cc-own""#)
            let id = try #require(client.key?.split(separator: "_").dropFirst().first)
            let data = #"{"cost_center":"cc-forged","client_id":"key:other"}"#
            #expect(try await server.post([Self.event("1", data)], as: client).report == "accepted 1, unmetered 1")
            try await server.ingest(Self.event("2", #"{"cost_center":"cc-theirs"}"#))
            let listed = try await server.ask("GET", "/events?tenant=acme&client=key:\(id)")
            let events = listed["data"]?.elements ?? []
            #expect(events.compactMap { $0["id"]?.string } == ["1"])
            #expect(events.first?["client_id"]?.string == "key:\(id)")
            #expect(events.first?["data"]?["cost_center"]?.string == "cc-own")
            let others = try await server.ask("GET", "/events?tenant=acme&client=key:operator")
            #expect(others["data"]?[0]?["data"]?["cost_center"]?.string == "cc-theirs")

            // The reversal bears what its original bears.
            _ = try await server.void("1")
            let both = try await server.ask("GET", "/events?tenant=acme&client=key:\(id)")
            #expect(both["data"]?.elements?.count == 2)
        }
    }

    @Test func aRetryThroughAnotherCredentialIsADuplicateAndNoConflict() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let client = try await Self.narrowed(server, #""cost_center":"cc-own""#)
            let event = Self.event("1", #"{"cost_center":"cc-1"}"#)
            #expect(try await server.post([event], as: client).report == "accepted 1, unmetered 1")
            #expect(try await server.ingest(event) == "duplicates 1")
            #expect(try await server.ingest(Self.event("1", #"{"cost_center":"cc-own"}"#)) == "conflicts 1")
        }
    }

    @Test func metersSeeTheCostCentreOfTheCredential() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("centres", "unique_count", of: "cost_center")
            try await server.publish(#"{"interval":"month","charges":[],"quotas":[]}"#)
            try await server.subscribe()
            let client = try await Self.narrowed(server, #""cost_center":"cc-own""#)
            let events = (1...3).map { Self.event("\($0)", #"{"cost_center":"cc-\#($0)"}"#) }
            _ = try await server.post(events, as: client).expecting(200)
            #expect(try await server.column("SELECT quantity::int::text FROM usage_counter") == ["1"])
            #expect(try await server.differences() == [])
        }
    }

    @Test func anUnmatchedEventKeepsItsStampsThroughTheReplay() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let client = try await Self.narrowed(server, #""cost_center":"cc-own""#)
            let id = try #require(client.key?.split(separator: "_").dropFirst().first)
            let event = SentEvent("1", subject: "later", data: #"{"cost_center":"cc-1"}"#)
            #expect(try await server.post([event], as: client).report == "unmatched 1")
            let waiting = try await server.ask("GET", "/unmatched-events")
            #expect(waiting["data"]?[0]?["client_id"]?.string == "key:\(id)")
            try await server.ask("PATCH", "/tenants/acme", #"{"subjects":["later"]}"#)
            try await server.ask("POST", "/unmatched-events/replay", "")
            let listed = try await server.ask("GET", "/events?tenant=acme&client=key:\(id)")
            #expect(listed["data"]?[0]?["data"]?["cost_center"]?.string == "cc-own")
            #expect(try await server.ingest(event) == "duplicates 1")
        }
    }
}
