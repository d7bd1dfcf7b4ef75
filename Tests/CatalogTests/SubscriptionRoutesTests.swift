import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@Suite struct SubscriptionRoutesTests {
    private static let subscribe = #"{"tenant":"acme","plan":"pro"}"#

    @Test func startsNowOnTheLatestPublishedVersion() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            _ = try await server.expect(201, "POST", "/plans/pro/versions", "{}")
            let made = try await server.expect(201, "POST", "/subscriptions", Self.subscribe)
            #expect(made.json["version"]?.number == "1")
            #expect(made.json["status"]?.string == "active")
            #expect(made.json["timezone"]?.string == "Europe/Berlin")
            #expect(made.json["starts_at"]?.string == "2026-11-23T08:00:00.000000Z")
            #expect(made.json["anchor"] == made.json["starts_at"])
            #expect(made.json["current_period"]?["end"]?.string == "2026-12-23T08:00:00.000000Z")
            let id = try #require(made.json["id"]?.string)
            #expect(try await server.expect(200, "GET", "/subscriptions/\(id)").json == made.json)
        }
    }

    @Test func refusesWhatCannotBeBilled() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            let none = try await server.expect(409, "POST", "/subscriptions", Self.subscribe)
            #expect(none.code == "plan_version_not_published")
            _ = try await server.expect(201, "POST", "/plans/pro/versions", "{}")
            let draft = try await server.expect(
                409,
                "POST",
                "/subscriptions",
                #"{"tenant":"acme","plan":"pro","version":1}"#
            )
            #expect(draft.code == "plan_version_not_published")
            _ = try await server.expect(200, "POST", "/plans/pro/versions/1/publish")
            let faulty: [(String, [String])] = [
                ("{}", ["/tenant", "/plan"]),
                (#"{"tenant":"none","plan":"pro"}"#, ["/tenant"]),
                (#"{"tenant":"acme","plan":"none"}"#, ["/plan"]),
                (#"{"tenant":"acme","plan":"pro","version":7}"#, ["/version"]),
                (#"{"tenant":"acme","plan":"pro","version":0}"#, ["/version"]),
                (#"{"tenant":"acme","plan":"pro","starts_at":"yesterday"}"#, ["/starts_at"]),
                (#"{"tenant":"acme","plan":"pro","starts_at":"1999-01-01T00:00:00Z"}"#, ["/starts_at"]),
            ]
            for (body, pointers) in faulty {
                #expect(try await server.expect(400, "POST", "/subscriptions", body).pointers == pointers)
            }
            _ = try await server.expect(201, "POST", "/tenants", #"{"key":"euro","name":"E","currency":"EUR"}"#)
            let euro = try await server.expect(409, "POST", "/subscriptions", #"{"tenant":"euro","plan":"pro"}"#)
            #expect(euro.code == "currency_mismatch")
            _ = try await server.expect(200, "POST", "/tenants/acme/suspend")
            #expect(try await server.expect(409, "POST", "/subscriptions", Self.subscribe).code == "tenant_suspended")
        }
    }

    @Test func ofManyAtOnceExactlyOneSucceeds() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            let answers = try await withThrowingTaskGroup(of: TestResponse.self) { group in
                for _ in 1...8 {
                    group.addTask { try await server.operatorClient.post("/api/v1/subscriptions", Self.subscribe) }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.count { $0.status == 201 } == 1)
            #expect(answers.filter { $0.status != 201 }.allSatisfy { $0.code == "subscription_overlaps" })
        }
    }

    @Test func cancellingEndsItNowOrLater() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            let id = try #require(
                try await server.expect(201, "POST", "/subscriptions", Self.subscribe).json["id"]?.string
            )
            let later = try await server.expect(
                200,
                "POST",
                "/subscriptions/\(id)/cancel",
                #"{"at":"period_end"}"#,
                headers: ["If-Match": "\"1\""]
            )
            #expect(later.json["ends_at"]?.string == "2026-12-23T08:00:00.000000Z")
            #expect(later.json["status"]?.string == "active")
            _ = try await server.expect(
                412,
                "POST",
                "/subscriptions/\(id)/cancel",
                "{}",
                headers: ["If-Match": "\"1\""]
            )
            let past = try await server.expect(
                400,
                "POST",
                "/subscriptions/\(id)/cancel",
                #"{"at":"2026-11-01T00:00:00Z"}"#
            )
            #expect(past.pointers == ["/at"])
            let chosen = try await server.expect(
                200,
                "POST",
                "/subscriptions/\(id)/cancel",
                #"{"at":"2026-11-30T00:00:00Z"}"#
            )
            #expect(chosen.json["ends_at"]?.string == "2026-11-30T00:00:00.000000Z")
            let now = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel", #"{"at":"now"}"#)
            #expect(now.json["status"]?.string == "ended")
            #expect(now.json["current_period"]?.isNull == true)
            #expect(try await server.expect(409, "POST", "/subscriptions/\(id)/cancel").code == "subscription_ended")
            _ = try await server.expect(201, "POST", "/subscriptions", Self.subscribe)
        }
    }

    @Test func cancelledBeforeItsStartItLeavesRoom() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            let future = #"{"tenant":"acme","plan":"pro","starts_at":"2026-12-01T00:00:00Z"}"#
            let made = try await server.expect(201, "POST", "/subscriptions", future)
            #expect(made.json["status"]?.string == "scheduled")
            let id = try #require(made.json["id"]?.string)
            let cancelled = try await server.expect(200, "POST", "/subscriptions/\(id)/cancel")
            #expect(cancelled.json["status"]?.string == "ended")
            #expect(cancelled.json["ends_at"] == cancelled.json["starts_at"])
            _ = try await server.expect(201, "POST", "/subscriptions", Self.subscribe)
        }
    }

    @Test func listsAreFilteredAndBound() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            _ = try await server.expect(201, "POST", "/tenants", #"{"key":"beta","name":"B","currency":"USD"}"#)
            let old = #"{"tenant":"acme","plan":"pro","starts_at":"2026-01-01T00:00:00Z"}"#
            let first = try await server.expect(201, "POST", "/subscriptions", old)
            let other = try await server.expect(201, "POST", "/subscriptions", #"{"tenant":"beta","plan":"pro"}"#)
            func count(_ query: String, as client: TestClient? = nil) async throws -> Int? {
                let list = try await server.expect(200, "GET", "/subscriptions\(query)", as: client)
                return list.json["data"]?.elements?.count
            }
            #expect(try await count("") == 2)
            #expect(try await count("?tenant=acme") == 1)
            #expect(try await count("?plan=none") == 0)
            #expect(try await count("?active_at=2026-06-01T00:00:00Z") == 1)
            #expect(try await count("?active_at=2025-06-01T00:00:00Z") == 0)
            let page = try await server.expect(200, "GET", "/subscriptions?limit=1")
            let cursor = try #require(page.json["next_cursor"]?.string)
            #expect(try await count("?limit=1&cursor=\(cursor)") == 1)
            let bound = try await server.client([.subscriptionsRead, .subscriptionsWrite], tenant: "acme")
            #expect(try await count("", as: bound) == 1)
            _ = try await server.expect(404, "GET", "/subscriptions?tenant=beta", as: bound)
            let foreign = try #require(other.json["id"]?.string)
            _ = try await server.expect(404, "GET", "/subscriptions/\(foreign)", as: bound)
            _ = try await server.expect(404, "POST", "/subscriptions/\(foreign)/cancel", as: bound)
            let own = try #require(first.json["id"]?.string)
            _ = try await server.expect(200, "GET", "/subscriptions/\(own)", as: bound)
            _ = try await server.expect(404, "GET", "/subscriptions/not-an-id")
        }
    }
}
