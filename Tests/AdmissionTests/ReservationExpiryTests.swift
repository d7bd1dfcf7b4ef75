import BillingCore
import Catalog
import Limits
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Usage
import Web

@testable import Admission

/// Reservations that nobody settles, and the ends of windows.
@Suite struct ReservationExpiryTests {
    @Test("an expired reservation goes on holding, is then given up with one alert, and settles in full when late")
    func expiry() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let admission = try await server.admit("1", seconds: "4", more: #","ttl_seconds":60"#)
            server.clock.advance(seconds: 61)
            try await server.expectRows(["0 4 0"])
            let path = "/admissions/\(server.id(of: admission))"
            let refused = try await server.ask("POST", "\(path)/extend", expecting: 409)
            #expect(refused["code"]?.string == "admission_closed")
            #expect(refused["detail"]?.string?.contains("settled or released until") == true, "\(refused)")
            let again = try await server.admit("1", seconds: "4", more: #","ttl_seconds":60"#)
            #expect(again["warnings"]?.text == #"["repeated","expired"]"#)
            server.clock.advance(seconds: 3_600)
            #expect(try await eventually { try await server.ask("GET", path)["status"]?.string == "expired" })
            try await server.expectRows(["0 0 0"])
            let alerts = try await server.ask("GET", "/alerts?kind=reservation_expired")
            #expect(alerts["data"]?[0]?["detail"]?["reservation"] == admission["reservation"]?["id"])
            #expect(alerts["data"]?[1] == nil)
            try await server.settle(admission, event: "late", seconds: "4")
            try await server.expectRows(["4 0 4"])
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test("reservations of a tenant that end together are one alert, which names them; other tenants have their own")
    func oneAlert() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            try await server.addTenant("globex")
            var ids: [String?] = []
            for call in 1...3 {
                let admission = try await server.admit("\(call)", more: #","ttl_seconds":60"#)
                ids.append(admission["reservation"]?["id"]?.string)
                server.clock.advance(seconds: 1)
            }
            let other = try await server.admit("4", more: #","ttl_seconds":60"#, subject: "globex")
            server.clock.advance(seconds: 3_700)
            let path = "/alerts?kind=reservation_expired"
            #expect(try await eventually { try await server.ask("GET", path)["data"]?.elements?.count == 2 })
            let own = try await server.ask("GET", "\(path)&tenant=acme")["data"]
            let details = own?.elements?.compactMap { $0["detail"] }
            #expect(details?.map { $0["reservations"] } == [.number("3")])
            #expect(details?.first?["reservation"]?.string == ids[0])
            #expect(details?.first?["others"]?.elements?.map(\.string) == [ids[1], ids[2]])
            let others = try await server.ask("GET", "\(path)&tenant=globex")["data"]?[0]?["detail"]
            #expect(others?["reservation"] == other["reservation"]?["id"])
            #expect(others?["others"]?.elements == [])
        }
    }

    /// Six hundred calls of one tenant.
    private static func admitMany(_ server: TestServer) async throws {
        for array in 0..<6 {
            let calls = (0..<100).map { call in
                """
                {"subject":"acme","type":"job.done","source":"gw","id":"\(array)-\(call)","data":{"seconds":1},\
                "ttl_seconds":1}
                """
            }
            try await server.ask("POST", "/admissions", "[\(calls.joined(separator: ","))]")
        }
    }

    @Test("many hundreds of reservations that end together are one alert, which says how many, and are counted each")
    func oneAlertOfMany() async throws {
        try await TestServer.run { server in
            let expired = "turnpike_reservations_expired_total"
            let before = try await server.counterValue(expired)
            try await server.arrangeQuota("100000")
            try await Self.admitMany(server)
            try await server.expectRows(["0 600 0"])
            server.clock.advance(seconds: 3_700)
            let open: SQL = "SELECT reservation_id::text FROM reservation WHERE status = 'held'"
            #expect(try await eventually { try await server.column(open).isEmpty })
            let alerts = try await server.ask("GET", "/alerts?kind=reservation_expired")["data"]?.elements
            #expect(alerts?.map { $0["detail"]?["reservations"] } == [.number("600")])
            #expect(alerts?.first?["detail"]?["others"]?.elements?.count == 100)
            #expect(alerts?.first?["detail"]?["source"]?.string == "gw")
            try await server.expectRows(["0 0 0"])
            #expect(try await eventually { try await server.counterValue(expired) >= before + 600 })
        }
    }

    @Test("within its suspense a reservation is settled as admitted; one that was extended lives longer")
    func suspense() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let first = try await server.admit("1", seconds: "4", more: #","ttl_seconds":60"#)
            let second = try await server.admit("2", seconds: "5", more: #","ttl_seconds":60"#)
            let path = "/admissions/\(server.id(of: second))/extend"
            let extended = try await server.ask("POST", path, #"{"ttl_seconds":7200}"#)
            #expect(extended["expires_at"]?.string == "2026-11-23T10:00:00.000000Z")
            server.clock.advance(seconds: 1_800)
            try await server.settle(first, event: "a", seconds: "4")
            try await server.expectRows(["4 5 0"])
        }
    }

    @Test("the reservations of a tenant that can't be ended do not keep those of others open")
    func oneTenantsTrouble() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("100000")
            try await server.addTenant("globex")
            try await Self.admitMany(server)
            let other = try await server.admit("1", more: #","ttl_seconds":2"#, subject: "globex")
            // What ends one would take its tenant's row below zero.
            _ = try await server.column("UPDATE limit_state SET held = 0 RETURNING ''")
            server.clock.advance(seconds: 3_700)
            let path = "/admissions/\(server.id(of: other))"
            #expect(try await eventually { try await server.ask("GET", path)["status"]?.string == "expired" })
            let open = try await server.column("SELECT count(*)::text FROM reservation WHERE status = 'held'")
            #expect(open == ["600"])
        }
    }

    @Test("a reservation that can't be ended keeps none of its tenant's others open")
    func oneThatFails() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            var ids: [String] = []
            for call in 1...5 {
                ids.append(server.id(of: try await server.admit("\(call)", more: #","ttl_seconds":60"#)))
            }
            try await server.expectRows(["0 5 0"])
            try await server.database.run(
                """
                CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF NEW.reservation_id = '\(ids[2])' THEN RAISE EXCEPTION 'damaged'; END IF;
                    RETURN NEW;
                END
                $$;
                CREATE TRIGGER fail BEFORE UPDATE ON reservation FOR EACH ROW EXECUTE FUNCTION fail()
                """
            )
            server.clock.advance(seconds: 3_700)
            #expect(try await eventually { try await server.limitRows() == ["0 1 0"] })
            #expect(try await server.brokenLimits() == [])
        }
    }

    @Test("reservations that hold more together than an amount can say are ended all the same")
    func enormousTogether() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds")
            let budget = """
                {"key":"all","scope":{"feature":"seconds"},"measure":"units","amount":"1","window":"day","mode":"soft"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            var enormous: [JSONValue] = []
            for call in ["a", "b", "c"] {
                enormous.append(
                    try await server.admit(call, seconds: "60000000000000000000000000", more: #","ttl_seconds":60"#)
                )
            }
            server.clock.advance(seconds: 3_700)
            for admission in enormous {
                let path = "/admissions/\(server.id(of: admission))"
                #expect(try await eventually { try await server.ask("GET", path)["status"]?.string == "expired" })
            }
            try await server.expectRows(["0 0 0"])
        }
    }

    /// Gives up all reservations of the tenant, as ones that nobody was told of.
    /// - Returns: how many were taken back.
    private static func takeBack(_ server: TestServer) async throws -> Int {
        let rows = try await server.column("SELECT tenant_id || ' ' || reservation_id FROM reservation")
        let names = try rows.map { row in
            let parts = try #require(row).split(separator: " ")
            let tenant = TenantID(rawValue: try #require(Int64(parts[0])))
            let id = ReservationID(rawValue: try #require(UUIDv7(String(parts[1]))))
            return TenantReservation(tenant: tenant, id: id)
        }
        return try await server.withPool { pool in
            let closing = ReservationClosing(
                catalog: Catalog(pool: pool, clock: server.clock.clock),
                pool: pool,
                policy: LimitPolicy(operatorZone: .utc, ids: .random(server.clock.clock)),
                lane: .worker
            )
            return try await closing.close(
                names.map(\.id),
                of: names[0].tenant,
                as: .released,
                at: server.clock.now,
                forgets: true
            ).count
        }
    }

    @Test("what is taken back because its caller was told that nothing is held stays where it was asked for again")
    func repeatedMeanwhile() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            var paths: [String] = []
            for id in ["once", "twice"] {
                paths.append("/admissions/\(server.id(of: try await server.admit(id, seconds: "4")))")
            }
            // Neither another call under its id nor a trial keeps it.
            try await server.admit("once", seconds: "3", expecting: 409)
            try await server.admit("once", seconds: "4", more: #","dry_run":true"#)
            #expect(try await server.admit("twice", seconds: "4")["warnings"]?.text == #"["repeated"]"#)
            #expect(try await Self.takeBack(server) == 1)
            #expect(try await server.operatorClient.get("/api/v1" + paths[0]).status == 404)
            #expect(try await server.ask("GET", paths[1])["status"]?.string == "held")
            try await server.expectRows(["0 4 0"])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("a call that is twice in one array stays, and one that is committed while its repetition waits")
    func repeatedAtOnce() async throws {
        let patient: @Sendable (inout Configuration) -> Void = { $0.admission.deadlineMilliseconds = 30_000 }
        try await TestServer.run(configure: patient) { first in
            try await TestServer.run(on: first.database, configure: patient) { second in
                try await first.arrangeQuota("100")
                let call = #"{"subject":"acme","type":"job.done","source":"gw","id":"both","data":{"seconds":1}}"#
                let both = try await first.ask("POST", "/admissions", "[\(call),\(call)]")
                #expect(both["data"]?[1]?["warnings"]?.text == #"["repeated"]"#)
                #expect(try await Self.takeBack(first) == 0)
                try await first.letCommitsWait(afterInsertsInto: "reservation")
                // Where one was refused just before, calls are looked at one by one.
                try await second.admit("large", seconds: "1000")
                var (admitted, again): (Task<JSONValue, any Error>?, Task<JSONValue, any Error>?)
                try await first.whileLocked("slow_commit") {
                    admitted = Task { try await first.admit("late") }
                    let isMade = try await first.comesToWait(on: "slow_commit")
                    again = Task { try await second.admit("late") }
                    let isWaiting = try await first.somebodyWaitsForAnother()
                    #expect(isMade && isWaiting)
                }
                let repeated = try #require(try await again?.value)
                #expect(repeated["warnings"]?.text == #"["repeated"]"#)
                #expect(repeated["reservation"]?["id"] == (try await admitted?.value)?["reservation"]?["id"])
                #expect(try await Self.takeBack(first) == 0)
                try await first.expectRows(["0 2 0"])
            }
        }
    }

    @Test("what was extended while its end was looked at does not expire")
    func extendedMeanwhile() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let admission = try await server.admit("1", seconds: "4")
            let text = server.id(of: admission)
            let id = ReservationID(rawValue: try #require(UUIDv7(text)))
            let tenant = try #require(try await server.column("SELECT tenant_id::text FROM reservation").first ?? nil)
            let reservation = TenantReservation(tenant: TenantID(rawValue: try #require(Int64(tenant))), id: id)
            let ended = try await server.withPool { pool in
                try await pool.query(
                    .worker,
                    ReservationStore.close([reservation: .expired], at: server.clock.now),
                    ReservationStore.decodeHold
                )
            }
            #expect(ended.isEmpty)
            #expect(try await server.ask("GET", "/admissions/\(text)")["status"]?.string == "held")
        }
    }

    @Test("a reservation lives for seven days at most, however often it is extended")
    func longestLife() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10")
            let admission = try await server.admit("1", seconds: "4")
            let path = "/admissions/\(server.id(of: admission))/extend"
            for _ in 0..<7 {
                try await server.ask("POST", path, #"{"ttl_seconds":86400}"#)
                server.clock.advance(seconds: 86_000)
            }
            let refused = try await server.ask("POST", path, #"{"ttl_seconds":86400}"#, expecting: 409)
            #expect(refused["code"]?.string == "extends_too_long")
            try await server.ask("POST", path, #"{"ttl_seconds":2800}"#)
        }
    }

    @Test("a hold that can expire in the next window counts in both")
    func windowEnd() async throws {
        try await TestServer.run { server in
            try await server.arrangeQuota("10", window: "day")
            server.clock.set(try Instant(parsing: "2026-11-23T23:50:00Z"))
            let admission = try await server.admit("1", seconds: "4")
            try await server.expectRows(["0 4 0", "0 4 0"])
            server.clock.set(try Instant(parsing: "2026-11-24T00:01:00Z"))
            #expect(try await server.admit("2", seconds: "7")["reason"]?.string == "quota_exceeded")
            try await server.settle(admission, event: "a", seconds: "4")
            try await server.expectRows(["0 0 0", "4 0 0"])
        }
    }
}

/// Holds that are open when a month, and with it a billing period, ends.
@Suite struct MonthEndTests {
    @Test("holds over the end of a month count in both months' spend caps, and are freed in both")
    func spendCapOverTheEnd() async throws {
        try await TestServer.run(clock: TestClock("2026-11-30T23:50:00Z")) { server in
            try await server.arrangeTiers()
            let first = try await server.admit("1", seconds: "14")
            let second = try await server.admit("2", seconds: "6")
            #expect(try await server.admit("3", seconds: "1")["reason"]?.string == "spend_cap_exceeded")
            // The quota's and the cap's rows, of November and December.
            try await server.expectRows(["0 20 0", "0 20 0", "0 20 0", "0 20 0"])
            server.clock.advance(seconds: 660)
            try await server.settle(first, event: "a", seconds: "14")
            try await server.settle(second, event: "b", seconds: "5", time: "2026-11-30T23:55:00Z")
            try await server.expectRows(["5 0 0", "14 0 0", "0 0 0", "8 0 0"])
            #expect(try await server.brokenLimits() == [])
            #expect(try await server.admit("4", seconds: "7")["reason"]?.string == "spend_cap_exceeded")
            #expect(try await server.admit("5", seconds: "6")["allowed"] == .bool(true))
        }
    }

    @Test("what is held in a month that ended long ago, as after an old backup, is freed one by one")
    func heldLongAgo() async throws {
        try await TestServer.run { before in
            try await before.arrangeTiers()
            let first = try await before.admit("1", seconds: "14")
            let second = try await before.admit("2", seconds: "6")
            _ = try await before.column(
                "UPDATE reservation SET expires_at = '2027-03-02', suspense_ends_at = '2027-03-03' RETURNING ''"
            )
            try await TestServer.run(on: before.database, clock: TestClock("2027-03-01T00:00:00Z")) { server in
                try await server.ask("POST", "/admissions/\(server.id(of: first))/release")
                #expect(try await server.limitRows().first == "0 6 0")
                try await server.ask("POST", "/admissions/\(server.id(of: second))/release")
                #expect(Set(try await server.limitRows()) == ["0 0 0"])
                #expect(try await server.unbalancedHolds() == [])
            }
        }
    }
}
