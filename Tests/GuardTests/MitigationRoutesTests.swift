import BillingCore
import Guard
import Postgres
import TestSupport
import Testing
import Web

/// What operators make, see and lift under `/mitigations`. What it does to calls is in `AdmissionTests`.
@Suite struct MitigationRoutesTests {
    static let body = """
        {"scope":{"tenant":"acme","user":"u9"},"reason":"a loop in the nightly job","ttl_seconds":3600}
        """

    @Test("one is answered as it was made, and told and audited with it; lifting it twice lifts it once")
    func life() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let answer = try await server.operatorClient.post("/api/v1/mitigations", Self.body).expecting(201)
            let made = answer.json
            let path = "/mitigations/\(made["id"]?.string ?? "")"
            #expect(answer.header("Location") == "/api/v1\(path)")
            #expect(made["scope"] == (try JSONValue(parsing: #"{"tenant":"acme","user":"u9"}"#)))
            #expect(made["reason"]?.string == "a loop in the nightly job" && made["status"]?.string == "active")
            #expect(made["expires_at"]?.string == "2026-11-23T09:00:00.000000Z")
            #expect(made["ended_at"] == .null && made["lift_reason"] == .null)
            #expect(try await server.ask("GET", path) == made)
            server.clock.advance(seconds: 60)
            let lifted = try await server.ask("POST", "\(path)/lift", #"{"reason":"the job is mended"}"#)
            #expect(lifted["status"]?.string == "lifted" && lifted["lift_reason"]?.string == "the job is mended")
            #expect(lifted["ended_at"]?.string == "2026-11-23T08:01:00.000000Z")
            server.clock.advance(seconds: 60)
            #expect(try await server.ask("POST", "\(path)/lift", #"{"reason":"again"}"#) == lifted)
            let told = try await server.column(
                """
                SELECT concat_ws(' ', event_type, tenant_id, operator_only, occurred_at, data ->> 'status')
                FROM webhook_event ORDER BY event_id
                """
            )
            #expect(
                told == [
                    "mitigation.started 0 t 2026-11-23 08:00:00+00 active",
                    "mitigation.ended 0 t 2026-11-23 08:01:00+00 lifted",
                ]
            )
            let bodies = try await WebhookContract.bodies(of: server)
            #expect(bodies.count == 2)
            try await WebhookContract.check(bodies)
            let audited = try await server.column(
                "SELECT action FROM audit_log WHERE resource_type = 'mitigation' ORDER BY audit_id"
            )
            #expect(audited == ["mitigation.created", "mitigation.lifted"])
        }
    }

    @Test("what there isn't can't be named, and what would say two things or nothing is refused, at its place")
    func faults() async throws {
        try await TestServer.run { server in
            let faulty = [
                ("{}", ["/scope", "/reason", "/ttl_seconds"]),
                (#"{"scope":{},"reason":"","ttl_seconds":1}"#, ["/reason"]),
                (#"{"scope":{},"reason":"x","ttl_seconds":0}"#, ["/ttl_seconds"]),
                (#"{"scope":{},"reason":"x","ttl_seconds":2592001}"#, ["/ttl_seconds"]),
                (#"{"scope":{"user":"*"},"reason":"x","ttl_seconds":1}"#, ["/scope/user"]),
                (#"{"scope":{"user":"a*"},"reason":"x","ttl_seconds":1}"#, ["/scope/user"]),
                (#"{"scope":{"model":"*"},"reason":"x","ttl_seconds":1}"#, ["/scope/model"]),
                (#"{"scope":{"user":null},"reason":"x","ttl_seconds":1}"#, ["/scope/user"]),
                (#"{"scope":{"team":"a"},"reason":"x","ttl_seconds":1}"#, ["/scope/team"]),
                (#"{"scope":{"tenant":"nobody"},"reason":"x","ttl_seconds":1}"#, ["/scope/tenant"]),
                (
                    #"{"scope":{"tenant":"x","feature":"x","plan":"x"},"reason":"x","ttl_seconds":1}"#,
                    ["/scope/tenant", "/scope/feature", "/scope/plan"]
                ),
                (#"{"scope":{},"reason":"x","ttl_seconds":1,"action":"deny"}"#, ["/action"]),
            ]
            for (body, pointers) in faulty {
                let answer = try await server.ask("POST", "/mitigations", body, expecting: 400)
                let found = answer["errors"]?.elements?.compactMap { $0["pointer"]?.string } ?? []
                #expect(Set(found) == Set(pointers), "\(body)")
            }
            let absent = "/mitigations/0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f60"
            try await server.ask("GET", absent, expecting: 404)
            try await server.ask("POST", "\(absent)/lift", expecting: 404)
            #expect(try await server.ask("GET", "/mitigations")["data"]?.elements == [])
        }
    }

    @Test("they are the operator's: no credential of a tenant sees, makes or lifts one")
    func operatorsOnly() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let made = try await server.ask("POST", "/mitigations", Self.body, expecting: 201)
            let path = "/mitigations/\(made["id"]?.string ?? "")"
            let own = try await server.client(Scope.allCases, tenant: "acme")
            let other = try await server.client(Scope.allCases.filter { $0 != .guardWrite })
            for (client, code) in [(own, "operator_only"), (other, "insufficient_scope")] {
                for (method, path) in [
                    ("GET", "/mitigations"), ("POST", "/mitigations"), ("GET", path), ("POST", "\(path)/lift"),
                ] {
                    let body = path == "/mitigations" && method == "POST" ? Self.body : ""
                    let refused = try await server.ask(method, path, body, expecting: 403, as: client)
                    #expect(refused["code"]?.string == code, "\(method) \(path)")
                }
            }
            #expect(try await server.ask("GET", path)["status"]?.string == "active")
        }
    }

    @Test("lists are narrowed by tenant and status, newest first and in pages")
    func lists() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addTenant("beta")
            var ids: [String] = []
            for (scope, seconds) in [
                (#"{"tenant":"acme"}"#, 10), (#"{"tenant":"acme","user":"u"}"#, 100), (#"{"tenant":"beta"}"#, 100),
                ("{}", 100),
            ] {
                let body = #"{"scope":\#(scope),"reason":"x","ttl_seconds":\#(seconds)}"#
                let made = try await server.ask("POST", "/mitigations", body, expecting: 201)
                ids.append(made["id"]?.string ?? "")
                server.clock.advance(seconds: 1)
            }
            try await server.ask("POST", "/mitigations/\(ids[2])/lift")
            func listed(_ query: String) async throws -> [Int] {
                let data = try await server.ask("GET", "/mitigations\(query)")["data"]?.elements ?? []
                return data.compactMap { one in ids.firstIndex { $0 == one["id"]?.string } }
            }
            #expect(try await listed("") == [3, 2, 1, 0])
            #expect(try await listed("?tenant=acme") == [1, 0])
            #expect(try await listed("?status=active") == [3, 1, 0])
            server.clock.advance(seconds: 10)
            // Whether or not its end has been told.
            for _ in 0..<2 {
                #expect(try await listed("?status=active") == [3, 1])
                #expect(try await listed("?status=lifted") == [2])
                #expect(try await listed("?status=expired") == [0])
                #expect(try await server.ask("GET", "/mitigations/\(ids[0])")["status"]?.string == "expired")
                #expect(try await eventually { try await server.told("mitigation.ended", of: ids[0]) == 1 })
            }
            let late = try await server.ask("POST", "/mitigations/\(ids[0])/lift", expecting: 409)
            #expect(late["code"]?.string == "mitigation_expired")
            let page = try await server.ask("GET", "/mitigations?tenant=acme&limit=1")
            #expect(page["data"]?[0]?["id"]?.string == ids[1])
            let next = page["next_cursor"]?.string ?? ""
            #expect(try await listed("?tenant=acme&limit=1&cursor=\(next)") == [0])
            try await server.ask("GET", "/mitigations?tenant=nobody", expecting: 404)
            try await server.ask("GET", "/mitigations?status=ended", expecting: 400)
        }
    }

    @Test("the end of each is told once, as of when it was, whatever the number of replicas that look")
    func endsAreToldOnce() async throws {
        try await TestServer.run { server in
            var ids: [String] = []
            for seconds in 1...20 {
                let body = #"{"scope":{"user":"u\#(seconds)"},"reason":"x","ttl_seconds":\#(seconds)}"#
                let made = try await server.ask("POST", "/mitigations", body, expecting: 201)
                ids.append(made["id"]?.string ?? "")
            }
            server.clock.advance(seconds: 15)
            try await server.withPool { pool in
                let ids = IDSource.random(server.clock.clock)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<4 {
                        group.addTask {
                            try await MitigationExpiryWorker(
                                pool: pool,
                                clock: server.clock.clock,
                                ids: ids,
                                logger: .silent
                            ).sweep()
                        }
                    }
                    try await group.waitForAll()
                }
            }
            #expect(try await eventually { try await server.toldEnds().count >= 15 })
            let expected = (1...15).map { second in
                let end = second < 10 ? "0\(second)" : "\(second)"
                return "2026-11-23 08:00:\(end)+00 2026-11-23T08:00:\(end).000000Z expired"
            }
            #expect(try await server.toldEnds() == expected)
        }
    }

    @Test("a thousand are in force at most; one that is lifted or over makes room")
    func bounded() async throws {
        try await TestServer.run { server in
            try await server.database.run(
                """
                INSERT INTO mitigation (mitigation_id, scope, reason, created_at, expires_at)
                SELECT gen_random_uuid(), '{"user":"u"}', 'x', '2026-11-23 08:00Z', '2026-11-23 10:00Z'
                FROM generate_series(1, 999);
                """
            )
            let body = #"{"scope":{},"reason":"x","ttl_seconds":60}"#
            let made = try await server.ask("POST", "/mitigations", body, expecting: 201)
            let refused = try await server.ask("POST", "/mitigations", body, expecting: 409)
            #expect(refused["code"]?.string == "too_many_mitigations")
            try await server.ask("POST", "/mitigations/\(made["id"]?.string ?? "")/lift")
            try await server.ask("POST", "/mitigations", body, expecting: 201)
            server.clock.advance(seconds: 60)
            try await server.ask("POST", "/mitigations", body, expecting: 201)
        }
    }
}

extension TestServer {
    fileprivate func told(_ type: String, of id: String) async throws -> Int {
        try await column(
            "SELECT event_id::text FROM webhook_event WHERE event_type = \(type) AND data ->> 'id' = \(id)"
        ).count
    }

    /// When each end happened, when it was to, and how it came.
    fileprivate func toldEnds() async throws -> [String?] {
        try await column(
            """
            SELECT concat_ws(' ', occurred_at, data ->> 'expires_at', data ->> 'status')
            FROM webhook_event WHERE event_type = 'mitigation.ended' ORDER BY occurred_at, event_id
            """
        )
    }
}
