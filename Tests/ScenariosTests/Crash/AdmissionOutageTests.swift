import Postgres
import TestSupport
import Testing
import Web

/// Outages of admission: while PostgreSQL is away, or hangs, each call is answered by the policies of the limits
/// it touches, also when the cache of credentials has aged.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct AdmissionOutageTests {
    private static let settings = [
        "TURNPIKE_MASTER_KEY": TestServer.masterKey, "TURNPIKE_ISSUER": TestServer.issuer,
    ]
    /// Far more than an answer takes and far less than PostgreSQL's statement time-out: not a measurement.
    private static let hangs = Duration.seconds(5)

    @Test("while PostgreSQL is away hard limits are closed, soft ones open, and who is unknown is refused")
    func outage() async throws {
        try await ServedTurnpike.run(settings: { _ in Self.settings }) { turnpike in
            let callers = try await Self.arrange(turnpike)
            try await turnpike.killDatabase()
            try await Self.expectPolicies(turnpike, callers)
            // What stands in for a credential lets nobody do anything else: the body's fault would be a 400.
            let release = "/api/v1/admissions/01936f00-0000-7000-8000-000000000000/release"
            for caller in callers.known {
                let other = try await caller.post(release, #"{"unknown":1}"#)
                #expect(other.status == 503 && other.json["code"]?.string == "database_unavailable", "\(other)")
            }
            try await turnpike.startDatabase()
            try await Self.expectRecovery(turnpike)
        }
    }

    @Test("while PostgreSQL takes connections and answers nothing, admissions are answered as while it is away")
    func hang() async throws {
        try await ServedTurnpike.run(settings: { _ in Self.settings }) { turnpike in
            let callers = try await Self.arrange(turnpike)
            try await turnpike.whileDatabaseHangs { try await Self.expectPolicies(turnpike, callers) }
            try await Self.expectRecovery(turnpike)
        }
    }

    @Test("while the disk is full hard limits are closed and soft ones open; nothing is held of what was refused")
    func fullDisk() async throws {
        try await ServedTurnpike.run(settings: { _ in Self.settings }) { turnpike in
            _ = try await Self.arrange(turnpike)
            try await turnpike.fill(
                """
                reservation (tenant_id, reservation_id, admission_key, content_hash, source, admission_id,
                    event_type, subject, status, created_at, expires_at, suspense_ends_at, closed_at)
                """,
                with: """
                    -9, gen_random_uuid(), gen_random_uuid(), 0, 's', n::text, 't', 'u', 'released', now(), now(),
                    now(), now()
                    """
            )
            var asked = 0
            try await turnpike.whileDiskIsFull(for: "reservation") {
                // Pages may have some room left.
                let isFull = try await eventually {
                    asked += 1
                    return try await Self.admit(turnpike.client, "closed", "full-\(asked)").status == 503
                }
                #expect(isFull)
                let closed = try await Self.admit(turnpike.client, "closed", "full")
                #expect(closed.status == 503 && closed.code == "limits_unavailable", "\(closed)")
                let open = try await Self.admit(turnpike.client, "open", "full").expecting(200)
                #expect(open.json["allowed"] == .bool(true) && open.json["reservation"] == .null, "\(open)")
                #expect(open.json["warnings"]?.text == #"["limits_unavailable"]"#)
            }
            try await Self.expectRecovery(turnpike)
            let leftovers = try await PostgresDatabase.pairs(
                """
                SELECT subject, admission_id FROM reservation
                WHERE status = 'held' AND admission_id IN ('full', 'full-\(asked)')
                """,
                at: turnpike.databaseURL
            )
            #expect(leftovers.isEmpty, "\(leftovers)")
            let held = try await PostgresDatabase.pairs(
                "SELECT key, trim_scale(held)::text FROM limit_state JOIN budget USING (limit_id)",
                at: turnpike.databaseURL
            )
            let made = try await PostgresDatabase.pairs(
                "SELECT subject, count(*)::text FROM reservation WHERE status = 'held' GROUP BY subject",
                at: turnpike.databaseURL
            )
            #expect(Dictionary(held) { $1 }.filter { $0.value != "0" } == Dictionary(made) { $1 })
        }
    }

    /// By a process that answers nobody else: what it counts is exactly that.
    @Test("each call whose credential can't be read is counted once, with those that are closed")
    func unreadCredentials() async throws {
        try await ServedTurnpike.run(settings: { _ in Self.settings }) { turnpike in
            let stranger = turnpike.client.with(key: "tpk_stranger_0123456789abcdef0123456789abcdef")
            try await turnpike.killDatabase()
            for index in 1...10 {
                #expect(try await stranger.get("/api/v1/admissions/check").status == 503)
                #expect(try await Self.admit(stranger, "open", "\(index)").status == 503)
            }
            let metrics = try await turnpike.client.with(key: nil).get("/metrics").text.split(separator: "\n")
            #expect(metrics.contains(#"turnpike_admissions_unavailable_total{answered="closed"} 20"#))
            // What has not happened yet is there, so that its first time is a rise.
            #expect(metrics.contains(#"turnpike_admissions_unavailable_total{answered="open"} 0"#))
            #expect(!metrics.contains { $0.hasPrefix("turnpike_admissions_total") && !$0.hasSuffix(" 0") })
        }
    }

    private struct Callers {
        /// With a key, and with an access token, of which both were used once.
        var known: [TestClient] = []
        /// With a key that nobody has used here, and an invented one.
        var unknown: [TestClient] = []
        /// With a key that was revoked after it was used.
        var revoked: TestClient
    }

    /// Two tenants with a budget each, and callers. All but one have called.
    private static func arrange(_ turnpike: ServedTurnpike) async throws -> Callers {
        for (tenant, mode) in [("closed", "hard"), ("open", "soft")] {
            let body = #"{"key":"\#(tenant)","name":"t","currency":"USD"}"#
            try await turnpike.client.post("/api/v1/tenants", body).expecting(201)
            let budget = """
                {"key":"\(tenant)","scope":{"tenant":"\(tenant)"},"measure":"requests","amount":"999","window":"month",\
                "mode":"\(mode)"}
                """
            try await turnpike.client.post("/api/v1/budgets", budget).expecting(201)
            try await expectAdmitted(turnpike.client, tenant, "before")
        }
        let (key, _) = try await newKey(turnpike)
        let (unused, _) = try await newKey(turnpike)
        let (revoked, id) = try await newKey(turnpike)
        let token = turnpike.client.with(key: try await newToken(turnpike))
        for (index, caller) in [key, revoked, token].enumerated() {
            try await expectAdmitted(caller, "open", "first-\(index)")
        }
        try await turnpike.client.delete("/api/v1/api-keys/\(id)").expecting(204)
        let isRevoked = try await eventually { try await admit(revoked, "open", "revoked").status == 401 }
        #expect(isRevoked)
        let invented = turnpike.client.with(key: "tpk_stranger_0123456789abcdef0123456789abcdef")
        return Callers(known: [key, token], unknown: [unused, invented], revoked: revoked)
    }

    /// Also where the machine is so busy that the first answers come too late.
    private static func expectAdmitted(_ caller: TestClient, _ subject: String, _ id: String) async throws {
        let isAdmitted = try await eventually {
            let answer = try await admit(caller, subject, id).json
            // One that came too late may hold nonetheless: then the next answer says that it was repeated.
            return answer["allowed"] == .bool(true) && answer["reservation"]?["id"] != nil
        }
        #expect(isAdmitted, "\(id)")
    }

    private static func newKey(_ turnpike: ServedTurnpike) async throws -> (TestClient, id: String) {
        let body = #"{"name":"gateway","scopes":["admissions:write"]}"#
        let made = try await turnpike.client.post("/api/v1/api-keys", body).expecting(201).json
        return (turnpike.client.with(key: try #require(made["key"]?.string)), try #require(made["id"]?.string))
    }

    private static func newToken(_ turnpike: ServedTurnpike) async throws -> String {
        let body = #"{"name":"gateway","scopes":["admissions:write"]}"#
        let made = try await turnpike.client.post("/api/v1/clients", body).expecting(201).json
        let client = TestOAuthClient(
            id: try #require(made["client_id"]?.string),
            secret: try #require(made["client_secret"]?.string)
        )
        let issued = try await turnpike.client.with(key: nil).form(
            "/oauth/token",
            [("grant_type", "client_credentials")],
            headers: ["Authorization": client.basic]
        ).expecting(200)
        return try #require(issued.json["access_token"]?.string)
    }

    /// Longer than what is known of a credential is fresh.
    private static func expectPolicies(_ turnpike: ServedTurnpike, _ callers: Callers) async throws {
        let end = ContinuousClock.now + .seconds(5)
        var index = 0
        while ContinuousClock.now < end || index < 2 {
            index += 1
            for caller in callers.known + [turnpike.client] {
                let closed = try await admit(caller, "closed", "\(index)")
                #expect(closed.status == 503 && closed.json["code"]?.string == "limits_unavailable", "\(closed)")
                let open = try await admit(caller, "open", "\(index)")
                #expect(open.status == 200 && open.json["warnings"]?.text == #"["limits_unavailable"]"#, "\(open)")
                #expect(try await admit(caller, "unknown", "\(index)").status == 503)
            }
            for caller in callers.unknown {
                let refused = try await admit(caller, "open", "\(index)")
                #expect(refused.status == 503 && refused.json["code"]?.string == "limits_unavailable", "\(refused)")
            }
            // For two seconds it is remembered that the key is none.
            #expect([401, 503].contains(try await admit(callers.revoked, "open", "\(index)").status))
        }
    }

    private static func expectRecovery(_ turnpike: ServedTurnpike) async throws {
        let isBack = try await eventually(within: .seconds(60)) {
            try await admit(turnpike.client, "closed", "after").json["allowed"] == .bool(true)
        }
        #expect(isBack)
        // Also of those whose callers were answered without a decision none is left.
        let isEmpty = try await eventually {
            let metrics = try await turnpike.client.with(key: nil).get("/metrics").text.split(separator: "\n")
            return metrics.contains("turnpike_admission_queue_calls 0")
        }
        #expect(isEmpty)
    }

    private static func call(_ tenant: String, _ id: String) -> String {
        #"{"subject":"\#(tenant)","type":"job.done","source":"gw","id":"\#(id)","data":{"seconds":1}}"#
    }

    private static func admit(_ client: TestClient, _ tenant: String, _ id: String) async throws -> TestResponse {
        let start = ContinuousClock.now
        let answer = try await client.post("/api/v1/admissions", call(tenant, id))
        #expect(ContinuousClock.now - start < hangs, "\(answer)")
        return answer
    }
}
