import BillingCore
import Postgres
import Synchronization
import TestSupport
import Testing
import TurnpikeServer
import Web

/// Every operation that changes something, done once by an operator, and what the audit log says of it afterwards.
@Suite(.timeLimit(.minutes(15)))
struct AuditTrailTests {
    /// What changes nothing that is configured: usage has its own log, a what-if stores nothing, and an admission is
    /// asked before every call and read under its id until it is forgotten.
    private static let unaudited: Set<String> = [
        "ingestEvents", "tryPlanVersion", "admit", "checkPosted", "releaseAdmission", "extendAdmission",
    ]

    @Test("every write leaves a row that says who, what, before, after and in which request")
    func everyWriteIsAudited() async throws {
        try await TestDatabase.with { database in
            let clock = TestClock()
            let trail = AuditTrail()
            try await TestServer.run(on: database, clock: clock) { server in
                try await trail.configureCatalogue(server)
                try await trail.configureTenants(server)
                try await trail.limit(server)
                try await trail.trustAnIssuer(server)
                try await trail.tellOthers(server)
            }
            // What was due at its start is drafted, and the story goes on with the drafts.
            try await TestServer.run(on: database, clock: clock) { server in
                try await trail.bill(server)
                try await trail.retire(server)
                let writes = server.operations.filter { $0.access != .open && "\($0.method)" != "GET" }.map(\.id)
                #expect(Set(writes).subtracting(Self.unaudited).subtracting(trail.seen) == [], "not tried")
                print("audit trail: \(trail.seen.count) operations")
            }
        }
    }

    @Test("the log is exported as CSV and as NDJSON, narrowed like the list")
    func theLogIsExported() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let key = try await server.makeKey([.auditRead], tenant: "acme")
            try await server.addTenant("globex")
            let all = try await server.operatorClient.get("/api/v1/audit-log?limit=500").expecting(200)
            let entries = try #require(all.json["data"]?.elements)
            let lines = try await server.operatorClient.get("/api/v1/audit-log/export?format=ndjson").expecting(200)
            #expect(lines.header("Content-Type") == "application/x-ndjson")
            #expect(try lines.text.split(separator: "\n").map { try JSONValue(parsing: String($0)) } == entries)
            let csv = try await server.anonymous.with(key: key).get("/api/v1/audit-log/export").expecting(200)
            #expect(csv.header("Content-Disposition") == #"attachment; filename="audit-log.csv""#)
            let records = csv.text.split(separator: "\r\n")
            #expect(records.count == 1 + entries.count { $0["tenant"]?.string == "acme" })
            #expect(!csv.text.contains("globex"))
        }
    }

    @Test("an issued token is in the log of its tenant, with its scopes and its end, and without itself")
    func issuedTokensAreAudited() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let client = try await server.makeOAuthClient([.auditRead, .quotasRead], tenant: "acme")
            let token = try await server.token(of: client, scope: "audit:read")
            let tenant = server.anonymous.with(key: token)
            let log = try await tenant.get("/api/v1/audit-log?action=token.issued").expecting(200)
            let row = try #require(log.json["data"]?[0])
            #expect(row["tenant"]?.string == "acme" && row["credential_id"]?.string == "client:\(client.id)")
            let after = row["after"]
            #expect(after?["client_id"]?.string == client.id && after?["scopes"]?.text == #"["audit:read"]"#)
            let issued = try Instant(parsing: after?["issued_at"]?.string ?? "")
            #expect(after?["expires_at"]?.string == "\(issued.adding(seconds: 900))")
            for part in token.split(separator: ".") { #expect(!log.text.contains(part)) }
            #expect(!log.text.contains(client.secret))
        }
    }

    @Test("failed authentications are in the log, a row for each address and reason, however many there were")
    func failedAuthenticationsAreAudited() async throws {
        try await TestDatabase.with { database in
            try await TestServer.run(
                on: database,
                configure: {
                    $0.authenticationLimits.failuresPerAddress = 20
                    $0.trustedProxies = [AddressRange("127.0.0.1")].compactMap(\.self)
                }
            ) { server in
                func guess(_ key: String, from address: String) async throws {
                    let caller = server.anonymous.with(key: key)
                    let answer = try await caller.get("/api/v1/tenants", headers: ["X-Forwarded-For": address])
                    #expect([401, 429].contains(answer.status))
                }
                for number in 0..<50 {
                    try await guess("tpk_guess\(number)_" + String(repeating: "x", count: 40), from: "192.0.2.1")
                }
                for host in 1...3 { try await guess("a.b.c", from: "2001:db8::\(host)") }
                let client = try await server.makeOAuthClient([.auditRead])
                let wrong = TestOAuthClient(id: client.id, secret: client.secret + "x")
                let form = [("grant_type", "client_credentials")]
                for _ in 0..<4 {
                    let headers = ["Authorization": wrong.basic, "X-Forwarded-For": "192.0.2.3"]
                    #expect(try await server.anonymous.form("/oauth/token", form, headers: headers).status == 401)
                }
            }
            // What had gathered was written when it stopped.
            try await TestServer.run(on: database) { server in
                let log = try await server.operatorClient.get("/api/v1/audit-log?action=authentication.failed")
                let rows = try #require(log.expecting(200).json["data"]?.elements)
                let told = rows.map { row in
                    "\(row["resource"]?["key"]?.string ?? "") \(row["after"]?["reason"]?.string ?? "") "
                        + "\(row["after"]?["count"]?.text ?? "")"
                }
                #expect(
                    Set(told) == [
                        "192.0.2.1 api_key 20", "192.0.2.1 api_key:throttled 30",
                        "2001:db8::/64 token:malformed 3", "192.0.2.3 client 4",
                    ]
                )
                #expect(rows.allSatisfy { $0["after"]?["credential_ids"]?.elements?.count ?? 0 <= 10 })
                #expect(rows.allSatisfy { $0["tenant"] == .null && $0["credential_id"]?.string?.isEmpty == false })
                try await server.addTenant("acme")
                let tenant = try await server.client([.auditRead], tenant: "acme")
                #expect(try await !tenant.get("/api/v1/audit-log").text.contains("authentication.failed"))
            }
        }
    }

    @Test("the service can add to the log, and neither change nor remove what is in it")
    func theLogIsAppendOnly() async throws {
        try await SchemaInspection.run { schema in
            let rights = try await schema.texts(
                """
                SELECT role || ' ' || privilege
                FROM unnest(ARRAY['turnpike_service', 'turnpike_tenant']) AS role,
                    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
                WHERE has_table_privilege(role, 'audit_log', privilege)
                ORDER BY 1
                """
            )
            #expect(rights == ["turnpike_service INSERT", "turnpike_service SELECT", "turnpike_tenant SELECT"])
        }
    }
}

/// The story, and which operations it has been through.
private final class AuditTrail: Sendable {
    private let done = Mutex<Set<String>>([])

    var seen: Set<String> { done.withLock { $0 } }

    /// What an operation leaves of its resource in the log.
    private enum Trace {
        case made, changed, removed
    }

    @discardableResult
    private func write(
        _ operation: String,
        _ server: TestServer,
        _ method: String,
        _ path: String,
        _ body: String = "",
        ifMatch: String? = nil,
        leaves trace: Trace = .changed
    ) async throws -> JSONValue {
        let request = "\(operation)-\(path.replacing("?", with: "/").replacing("=", with: "-"))"
        var headers = ["X-Request-Id": request]
        headers["If-Match"] = ifMatch
        let answer = try await server.operatorClient.send(
            method,
            "/api/v1\(path)",
            body: body.isEmpty ? nil : Array(body.utf8),
            headers: headers
        )
        guard (200...299).contains(answer.status) else {
            Issue.record("\(operation): \(answer)")
            return .null
        }
        let route = server.operations.first { $0.id == operation }
        #expect(route.map { "\($0.method)" } == method, "\(operation)")
        let log = try await server.operatorClient.get("/api/v1/audit-log?request_id=\(request)").expecting(200)
        let rows = log.json["data"]?.elements ?? []
        #expect(!rows.isEmpty, "\(operation) leaves no row")
        for row in rows {
            #expect(row["credential_id"]?.string == "key:operator", "\(operation): \(row.text)")
        }
        let fits = rows.contains { row in
            let had = row["before"].map { $0 != .null } ?? false
            let has = row["after"].map { $0 != .null } ?? false
            return switch trace {
            case .made: !had && has
            case .changed: had && has && row["before"] != row["after"]
            case .removed: had && !has
            }
        }
        #expect(fits, "\(operation) \(trace): \(rows.map(\.text))")
        done.withLock { _ = $0.insert(operation) }
        return answer.body.isEmpty ? .null : answer.json
    }

    func configureCatalogue(_ server: TestServer) async throws {
        let meter = #"{"key": "tokens", "event_type": "llm", "aggregation": "sum", "value": "n"}"#
        try await write("createMeter", server, "POST", "/meters", meter, leaves: .made)
        let spare = #"{"key": "spare", "event_type": "spare", "aggregation": "count"}"#
        try await write("createMeter", server, "POST", "/meters", spare, leaves: .made)
        try await write("updateMeter", server, "PATCH", "/meters/spare", #"{"name": "Spare"}"#)
        let feature = #"{"key": "tokens", "name": "Tokens", "meter": "tokens", "unit": "token"}"#
        try await write("createFeature", server, "POST", "/features", feature, leaves: .made)
        let idle = #"{"key": "spare", "name": "Spare", "meter": "spare", "unit": "piece"}"#
        try await write("createFeature", server, "POST", "/features", idle, leaves: .made)
        try await write("updateFeature", server, "PATCH", "/features/spare", #"{"name": "Idle"}"#)
        for plan in ["pro", "max"] {
            let body = #"{"key": "\#(plan)", "name": "\#(plan)", "currency": "USD"}"#
            try await write("createPlan", server, "POST", "/plans", body, leaves: .made)
            try await write("createPlanVersion", server, "POST", "/plans/\(plan)/versions", version, leaves: .made)
            try await write("publishPlanVersion", server, "POST", "/plans/\(plan)/versions/1/publish")
        }
        try await write("updatePlan", server, "PATCH", "/plans/pro", #"{"name": "Pro"}"#)
        try await write("createPlanVersion", server, "POST", "/plans/pro/versions", version, leaves: .made)
        let changed = version.replacing("20.00", with: "30.00")
        try await write("replacePlanVersion", server, "PUT", "/plans/pro/versions/2", changed)
        try await write("deletePlanVersion", server, "DELETE", "/plans/pro/versions/2", leaves: .removed)
        let price = """
            {"provider": "openai", "model": "gpt-4o*", "token_class": "output", "unit_amount": "0.00001",
             "currency": "USD", "effective_from": "2027-01-01T00:00:00Z"}
            """
        let priced = try await write("createPrice", server, "POST", "/price-book", price, leaves: .made)
        try await write("deletePrice", server, "DELETE", "/price-book/\(text(priced, "id"))", leaves: .removed)
        let rate = """
            {"from": "USD", "to": "EUR", "rate": "0.9", "effective_from": "2027-01-01T00:00:00Z"}
            """
        let rated = try await write("createFxRate", server, "POST", "/fx-rates", rate, leaves: .made)
        try await write("deleteFxRate", server, "DELETE", "/fx-rates/\(text(rated, "id"))", leaves: .removed)
        let loop = #"{"scope": {"user": "u9"}, "reason": "a loop", "ttl_seconds": 60}"#
        let refusing = try await write("createMitigation", server, "POST", "/mitigations", loop, leaves: .made)
        try await write("liftMitigation", server, "POST", "/mitigations/\(text(refusing, "id"))/lift")
    }

    func trustAnIssuer(_ server: TestServer) async throws {
        let rules = """
            "issuer": "https://sso.example", "jwks_uri": "https://sso.example/keys", "audiences": ["turnpike"],
            "allowed_scopes": ["quotas:read"], "tenant": "acme"
            """
        let (all, one) = ("/identity-providers", "/identity-providers/sso")
        try await write("createIdentityProvider", server, "POST", all, "{\"key\": \"sso\", \(rules)}", leaves: .made)
        let disabled = "{\"enabled\": false, \(rules)}"
        try await write("replaceIdentityProvider", server, "PUT", one, disabled, ifMatch: "\"1\"")
        try await write("deleteIdentityProvider", server, "DELETE", one, leaves: .removed)
    }

    func tellOthers(_ server: TestServer) async throws {
        let (all, one) = ("/webhook-endpoints", "/webhook-endpoints/ops")
        let body = #"{"key": "ops", "url": "https://example.com/", "events": ["webhook.test"]}"#
        try await write("createWebhookEndpoint", server, "POST", all, body, leaves: .made)
        try await write("updateWebhookEndpoint", server, "PATCH", one, #"{"description": "x"}"#, ifMatch: "\"1\"")
        try await write("rotateWebhookEndpointSecret", server, "POST", "\(one)/rotate-secret")
        let delivery = try await write("testWebhookEndpoint", server, "POST", "\(one)/test", leaves: .made)
        let failed = try await eventually {
            try await server.ask("GET", "/deliveries/\(text(delivery, "id"))")["attempts"]?.elements?.isEmpty == false
        }
        #expect(failed)
        try await write("retryDelivery", server, "POST", "/deliveries/\(text(delivery, "id"))/retry")
        try await write("deleteWebhookEndpoint", server, "DELETE", one, leaves: .removed)
    }

    func configureTenants(_ server: TestServer) async throws {
        for key in ["acme", "globex", "hooli"] {
            let body = #"{"key": "\#(key)", "name": "\#(key)", "currency": "USD"}"#
            try await write("createTenant", server, "POST", "/tenants", body, leaves: .made)
            let subscription = #"{"tenant": "\#(key)", "plan": "pro", "version": 1}"#
            let made = try await write(
                "createSubscription",
                server,
                "POST",
                "/subscriptions",
                subscription,
                leaves: .made
            )
            guard key == "acme" else { continue }
            let path = "/subscriptions/\(text(made, "id"))"
            let later = #"{"plan": "max", "version": 1, "at": "period_end"}"#
            try await write("changeSubscription", server, "POST", "\(path)/change", later)
            try await write("withdrawSubscriptionChanges", server, "POST", "\(path)/withdraw-changes")
            try await write("cancelSubscription", server, "POST", "\(path)/cancel", #"{"at": "period_end"}"#)
            try await write("resumeSubscription", server, "POST", "\(path)/resume")
        }
        try await write("updateTenant", server, "PATCH", "/tenants/acme", #"{"name": "Acme GmbH"}"#)
        try await write("suspendTenant", server, "POST", "/tenants/globex/suspend")
        try await write("resumeTenant", server, "POST", "/tenants/globex/resume")
        let quota = "/tenants/acme/quotas/tokens?window=day"
        try await write("overrideQuota", server, "PUT", quota, #"{"limit": "7"}"#, leaves: .made)
        try await write("removeQuotaOverride", server, "DELETE", quota, leaves: .removed)
        let event = #"{"id": "e", "source": "s", "type": "llm", "subject": "acme", "data": {"n": 1}}"#
        try await server.operatorClient.post("/api/v1/events", event).expecting(200)
        let stray = #"{"id": "f", "source": "s", "type": "llm", "subject": "acme-eu", "data": {"n": 1}}"#
        try await server.operatorClient.post("/api/v1/events", stray).expecting(200)
        let void = #"{"id": "e", "source": "s", "tenant": "acme", "reason": "wrong"}"#
        try await write("voidEvent", server, "POST", "/events/void", void, leaves: .made)
        try await server.ask("PATCH", "/tenants/acme", #"{"subjects": ["acme-eu"]}"#)
        try await write("replayUnmatchedEvents", server, "POST", "/unmatched-events/replay", "{}", leaves: .made)
        let unmetered = #"{"id": "g", "source": "s", "type": "job", "subject": "acme", "data": {"n": 1}}"#
        try await server.operatorClient.post("/api/v1/events", unmetered).expecting(200)
        try await server.addFeature("jobs", "count", of: nil, type: "job")
        let type = #"{"type": "job"}"#
        try await write("replayUnmeteredEvents", server, "POST", "/unmetered-events/replay", type, leaves: .made)
        let alert = try await server.ask("GET", "/alerts?kind=unmatched_usage")["data"]?[0] ?? .null
        try await write("acknowledgeAlert", server, "POST", "/alerts/\(text(alert, "id"))/acknowledge")
        let key = #"{"name": "gateway", "scopes": ["events:write"]}"#
        let made = try await write("createApiKey", server, "POST", "/api-keys", key, leaves: .made)
        let keys = "/api-keys/\(text(made, "id"))"
        try await write("updateApiKey", server, "PATCH", keys, #"{"name": "gateway eu"}"#)
        try await write("rotateApiKey", server, "POST", "\(keys)/rotate", #"{"overlap_seconds": 60}"#)
        try await write("revokeApiKey", server, "DELETE", keys)
        let sessions = "/tenants/acme/portal-sessions"
        let session = try await write("createPortalSession", server, "POST", sessions, leaves: .made)
        try await write("revokePortalSession", server, "DELETE", "\(sessions)/\(text(session, "id"))")
        let client = #"{"name": "search team", "scopes": ["events:write"]}"#
        let program = try await write("createClient", server, "POST", "/clients", client, leaves: .made)
        let clients = "/clients/\(text(program, "client_id"))"
        try await write("updateClient", server, "PATCH", clients, #"{"name": "search"}"#)
        let rotation = #"{"overlap_seconds": 60}"#
        try await write("rotateClientSecret", server, "POST", "\(clients)/rotate-secret", rotation)
        try await write("revokeClient", server, "DELETE", clients)
    }

    func limit(_ server: TestServer) async throws {
        let budget = """
            {"key": "daily", "scope": {"tenant": "acme"}, "measure": "requests", "amount": "5", "window": "day"}
            """
        try await write("createBudget", server, "POST", "/budgets", budget, leaves: .made)
        try await write("updateBudget", server, "PATCH", "/budgets/daily", #"{"amount": "4"}"#, ifMatch: "\"1\"")
        try await write("archiveBudget", server, "DELETE", "/budgets/daily")
    }

    func bill(_ server: TestServer) async throws {
        let credit = #"{"name": "Welcome", "kind": "promotional", "amount": "5"}"#
        let grant = try await write(
            "createCreditGrant",
            server,
            "POST",
            "/tenants/acme/credit-grants",
            credit,
            leaves: .made
        )
        let grants = "/tenants/acme/credit-grants/\(text(grant, "id"))"
        try await write("voidCreditGrant", server, "POST", "\(grants)/void")
        let percent = #"{"name": "Ten", "percent": "10", "duration": "once"}"#
        let made = try await write("createDiscount", server, "POST", "/tenants/acme/discounts", percent, leaves: .made)
        try await write("endDiscount", server, "POST", "/tenants/acme/discounts/\(text(made, "id"))/end")
        let paid = try await finalize("acme", server)
        let note = #"{"amount": "1.00", "reason": "goodwill"}"#
        try await write("createCreditNote", server, "POST", "\(paid)/credit-notes", note, leaves: .made)
        try await write("payInvoice", server, "POST", "\(paid)/pay")
        try await write(
            "markInvoiceUncollectible",
            server,
            "POST",
            "\(try await finalize("globex", server))/mark-uncollectible"
        )
        let voided = try await finalize("hooli", server)
        try await write("voidInvoice", server, "POST", "\(voided)/void")
        try await write("reissueInvoice", server, "POST", "\(voided)/reissue", leaves: .made)
    }

    /// Archives what is no longer offered.
    func retire(_ server: TestServer) async throws {
        try await write("archiveFeature", server, "DELETE", "/features/spare")
        try await write("archiveMeter", server, "DELETE", "/meters/spare")
    }

    private func finalize(_ tenant: String, _ server: TestServer) async throws -> String {
        let hasDraft = try await eventually(within: .seconds(60)) {
            try await server.ask("GET", "/invoices?tenant=\(tenant)")["data"]?.elements?.isEmpty == false
        }
        #expect(hasDraft)
        let list = try await server.ask("GET", "/invoices?tenant=\(tenant)")
        let path = "/invoices/\(list["data"]?[0].map { text($0, "id") } ?? "")"
        try await write("finalizeInvoice", server, "POST", "\(path)/finalize")
        return path
    }

    private func text(_ value: JSONValue, _ name: String) -> String { value[name]?.string ?? "" }

    private let version = """
        {"interval": "month",
         "fees": [{"key": "platform", "name": "Platform fee", "amount": "20.00", "charged": "in_advance"}],
         "charges": [{"feature": "tokens", "price": {"model": "per_unit", "unit_amount": "0.01"}}],
         "quotas": [{"feature": "tokens", "limit": "100", "window": "billing_period", "mode": "soft",
                     "overage": "allowed"}]}
        """
}
