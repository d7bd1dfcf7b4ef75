import BillingCore
import Limits
import Postgres
import TestSupport
import Testing
import Web

/// What the suites of admission arrange and ask.
extension TestServer {
    /// A tenant on a plan with a hard quota of so many seconds in a window.
    func arrangeQuota(_ limit: String, window: String = "month", plan more: String = "") async throws {
        try await addTenant("acme")
        try await addFeature("seconds")
        try await publish(
            """
            {"quotas":[{"feature":"seconds","limit":"\(limit)","window":"\(window)","mode":"hard"}]\(more)}
            """
        )
        try await subscribe(at: "2026-11-01T00:00:00Z")
    }

    /// A tenant with a spend cap over a free first tier, and a hard quota in its billing period.
    func arrangeTiers() async throws {
        try await addTenant("acme")
        try await addFeature("seconds")
        try await publish(
            """
            {"charges":[{"feature":"seconds","price":{"model":"graduated","tiers":[
              {"up_to":"10","unit_amount":"0"},{"up_to":null,"unit_amount":"2"}]}}],
             "quotas":[{"feature":"seconds","limit":"40","window":"billing_period","mode":"hard"}],
             "spend_cap":{"amount":"20","mode":"hard"}}
            """
        )
        try await subscribe(at: "2026-11-01T00:00:00Z")
    }

    @discardableResult
    func admit(
        _ id: String,
        seconds: String = "1",
        more: String = "",
        data: String = "",
        subject: String = "acme",
        expecting status: Int = 200,
        as client: TestClient? = nil
    ) async throws -> JSONValue {
        let call = call(id, seconds: seconds, more: more, data: data, subject: subject)
        return try await ask("POST", "/admissions", call, expecting: status, as: client)
    }

    /// Asks for calls in one array.
    /// - Returns: the answer to each.
    @discardableResult
    func admit(together calls: [String]) async throws -> [JSONValue] {
        let answer = try await ask("POST", "/admissions", "[\(calls.joined(separator: ","))]")
        return answer["data"]?.elements ?? []
    }

    /// A call as it is asked for.
    func call(
        _ id: String,
        seconds: String = "1",
        more: String = "",
        data: String = "",
        subject: String = "acme"
    ) -> String {
        """
        {"subject":"\(subject)","type":"job.done","source":"gw","id":"\(id)",\
        "data":{"seconds":\(seconds)\(data)}\(more)}
        """
    }

    /// Reports usage that settles a reservation.
    @discardableResult
    func settle(
        _ admission: JSONValue,
        event id: String,
        seconds: String,
        data: String = "",
        partial: Bool = false,
        time: String? = nil,
        as client: TestClient? = nil
    ) async throws -> String {
        let time = time.map { #","time":"\#($0)""# } ?? ""
        let body = """
            {"specversion":"1.0","id":"\(id)","source":"gw","type":"job.done","subject":"acme"\(time),\
            "reservationid":"\(self.id(of: admission))","reservationpartial":\(partial),\
            "data":{"seconds":\(seconds)\(data)}}
            """
        return try await (client ?? operatorClient).post("/api/v1/events", body).expecting(200).report
    }

    func id(of admission: JSONValue) -> String { admission["reservation"]?["id"]?.string ?? "" }

    @discardableResult
    func extend(_ admission: JSONValue, seconds: Int, expecting status: Int = 200) async throws -> JSONValue {
        let body = #"{"ttl_seconds":\#(seconds)}"#
        return try await ask("POST", "/admissions/\(id(of: admission))/extend", body, expecting: status)
    }

    func expectRows(_ expected: [String], sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let rows = try await limitRows()
        #expect(rows == expected, sourceLocation: sourceLocation)
    }

    /// `used held overshoot` of the rows of limits, those of quantities left out, by limit and window.
    func limitRows() async throws -> [String] {
        try await withPool { pool in
            try await pool.query(
                .worker,
                """
                SELECT trim_scale(used) || ' ' || trim_scale(held) || ' ' || trim_scale(overshoot)
                FROM limit_state WHERE scope_value NOT LIKE '#%'
                ORDER BY tenant_id, limit_id, scope_value, window_start
                """
            ) { row throws(PostgresError) in try row.next(String.self) }
        }
    }

    /// The rows whose hard limit is broken: none, at every commit.
    func brokenLimits() async throws -> [String] {
        try await withPool { pool in
            try await pool.query(
                .worker,
                """
                SELECT limit_id || ' ' || scope_value || ' ' || used || ' ' || held || ' ' || overshoot
                FROM limit_state
                WHERE scope_value NOT LIKE '#%' AND used + held - overshoot > limit_amount
                """
            ) { row throws(PostgresError) in try row.next(String.self) }
        }
    }

    /// Rows of limits that hold something else than the open reservations say.
    func unbalancedHolds() async throws -> [String] {
        try await withPool { pool in
            let tenants = try await pool.query(.worker, "SELECT tenant_id FROM tenant ORDER BY tenant_id LIMIT 9") {
                row throws(PostgresError) in try row.next(TenantID.self)
            }
            var found: [String] = []
            for tenant in tenants {
                found += try await pool.query(.worker, ReservationStore.unbalanced(of: tenant)) {
                    row throws(PostgresError) in try row.next(String.self)
                }
            }
            return found
        }
    }
}
