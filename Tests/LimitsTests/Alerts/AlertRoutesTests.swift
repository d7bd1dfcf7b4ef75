import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Limits

/// `/alerts`.
@Suite struct AlertRoutesTests {
    /// Three alerts of two tenants and of nobody, a minute after another, and one that operators alone may see.
    private static func arrange(_ server: TestServer) async throws {
        for key in ["acme", "globex"] { try await server.addTenant(key) }
        let drafts: [(AlertKind, Int64, String?, Bool)] = [
            (.limitReached, 1, "acme", false), (.limitReached, 2, "globex", false),
            (.unmatchedUsage, 0, nil, false), (.unpricedUsage, 1, "acme", true),
        ]
        let clock = server.clock.clock
        try await server.withPool { pool in
            for (kind, tenant, key, isOperatorOnly) in drafts {
                let detail = JSONValue.members(["feature": .string("chat")])
                var draft = AlertDraft(kind, of: TenantID(tenant), key: key, identity: [], detail: detail)
                draft.isOperatorOnly = isOperatorOnly
                draft.threshold = kind == .limitReached ? FixedDecimal(100) : nil
                let raised = draft
                try await pool.transaction(.worker) { transaction in
                    try AlertStore.raise([raised], at: clock.now(), ids: .random(clock), in: transaction)
                }
                server.clock.advance(seconds: 60)
            }
        }
    }

    private static func list(_ server: TestServer, _ query: String = "", as client: TestClient? = nil) async throws
        -> [String]
    {
        let alerts = try await server.ask("GET", "/alerts\(query)", as: client)["data"]?.elements ?? []
        return alerts.map { "\($0["kind"]?.string ?? "?") \($0["tenant"]?.string ?? "-")" }
    }

    @Test func theNewestComesFirst() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let all = ["unpriced_usage acme", "unmatched_usage -", "limit_reached globex", "limit_reached acme"]
            #expect(try await Self.list(server) == all)
            #expect(try await Self.list(server, "?tenant=acme") == ["unpriced_usage acme", "limit_reached acme"])
            #expect(try await Self.list(server, "?kind=limit_reached") == [all[2], all[3]])
            #expect(try await Self.list(server, "?from=2026-11-23T08:01:00Z&to=2026-11-23T08:02:00Z") == [all[2]])
            var paged: [String] = []
            var cursor = ""
            for _ in all {
                let page = try await server.ask("GET", "/alerts?limit=1\(cursor)")
                paged += (page["data"]?.elements ?? []).map {
                    "\($0["kind"]?.string ?? "") \($0["tenant"]?.string ?? "-")"
                }
                cursor = "&cursor=\(page["next_cursor"]?.string ?? "")"
            }
            #expect(paged == all)
            for query in ["?kind=fire", "?acknowledged=maybe", "?from=noon", "?until=now"] {
                try await server.ask("GET", "/alerts\(query)", expecting: 400)
            }
            try await server.ask("GET", "/alerts?tenant=initech", expecting: 404)
        }
    }

    @Test("an alert of a limit that counts without end is about no window")
    func withoutEnd() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let budget = #""scope":{"tenant":"acme"},"measure":"requests","amount":"1","window":"lifetime""#
            try await server.ask("POST", "/budgets", #"{"key":"ever",\#(budget),"thresholds":[100]}"#, expecting: 201)
            try await server.ingest(SentEvent("1"))
            let alerts = try await server.ask("GET", "/alerts?kind=threshold_crossed")["data"]?.elements ?? []
            #expect(alerts.map { $0["threshold"]?.string } == ["100"])
            #expect(alerts.map { $0["window"] } == [.null])
        }
    }

    @Test("a tenant sees its own alerts, and none about what providers charge")
    func tenantsSeeTheirOwn() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let own = try await server.client([.budgetsRead, .budgetsWrite], tenant: "acme")
            #expect(try await Self.list(server, as: own) == ["limit_reached acme"])
            #expect(try await Self.list(server, "?tenant=acme", as: own) == ["limit_reached acme"])
            try await server.ask("GET", "/alerts?tenant=globex", expecting: 404, as: own)
            for alert in try await server.ask("GET", "/alerts")["data"]?.elements ?? [] {
                let isOwn = alert["kind"]?.string == "limit_reached" && alert["tenant"]?.string == "acme"
                let path = "/alerts/\(alert["id"]?.string ?? "")"
                try await server.ask("GET", path, expecting: isOwn ? 200 : 404, as: own)
                try await server.ask("POST", "\(path)/acknowledge", expecting: isOwn ? 200 : 404, as: own)
            }
            let acknowledged = try await server.column(
                "SELECT concat_ws(' ', count(acknowledged_at), count(tenant_acknowledged_at)) FROM alert"
            )
            #expect(acknowledged == ["0 1"])
            #expect(try await Self.list(server, "?acknowledged=true", as: own) == ["limit_reached acme"])
        }
    }

    @Test("a tenant acknowledges for itself and the operator for itself, and neither sees what the other notes")
    func eachForItself() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let own = try await server.client([.budgetsRead, .budgetsWrite, .auditRead], tenant: "acme")
            let alert = try await server.ask("GET", "/alerts?tenant=acme&kind=limit_reached")["data"]?[0]
            let path = "/alerts/\(alert?["id"]?.string ?? "")"
            try await server.ask("POST", "\(path)/acknowledge", #"{"note":"Ours."}"#, as: own)
            #expect(try await server.ask("GET", path)["acknowledged_at"] == .null)
            #expect(try await Self.list(server, "?acknowledged=false").contains("limit_reached acme"))
            try await server.ask("POST", "\(path)/acknowledge", #"{"note":"Theirs."}"#)
            #expect(try await server.ask("GET", path)["note"]?.string == "Theirs.")
            #expect(try await server.ask("GET", path, as: own)["note"]?.string == "Ours.")
            let log = try await server.ask("GET", "/audit-log?action=alert.acknowledged", as: own)["data"]?.elements
            #expect(log?.count == 1)
        }
    }

    @Test("the first acknowledgement stays, and stands in the audit log once")
    func acknowledgedOnce() async throws {
        try await TestServer.run { server in
            try await Self.arrange(server)
            let alerts = try await server.ask("GET", "/alerts?tenant=globex")
            let path = "/alerts/\(alerts["data"]?[0]?["id"]?.string ?? "")"
            let before = try await server.ask("GET", path)
            #expect(before["acknowledged_at"] == .null && before["threshold"]?.string == "100")
            let first = try await server.ask("POST", "\(path)/acknowledge", #"{"note":"Bought more."}"#)
            #expect(first["acknowledged_by"]?.string == "key:operator" && first["note"]?.string == "Bought more.")
            server.clock.advance(seconds: 60)
            let again = try await server.ask("POST", "\(path)/acknowledge", #"{"note":"Twice."}"#)
            #expect(again == first)
            #expect(try await server.ask("GET", path) == first)
            #expect(try await Self.list(server, "?acknowledged=false").contains("limit_reached globex") == false)
            let audited = try await server.ask("GET", "/audit-log?action=alert.acknowledged")["data"]?.elements
            #expect(audited?.count == 1 && audited?[0]["tenant"] == .null)
            try await server.ask("POST", "\(path)/acknowledge", #"{"note":""}"#, expecting: 400)
            try await server.ask("POST", "\(path)/acknowledge", #"{"notes":"x"}"#, expecting: 400)
        }
    }
}
