import TestSupport
import Testing
import Web

/// Isolation over HTTP: to a credential bound to one tenant, another tenant's things are like what does not exist.
@Suite(.timeLimit(.minutes(15)))
struct TenantIsolationTests {
    @Test("a bound credential with every scope gets for another tenant's identifiers what absent ones get")
    func otherTenantsAreAbsent() async throws {
        try await TestServer.run { server in
            let pair = try await TwoTenants.make(server)
            let before = try await Self.state(of: pair.bravo)
            var tried = 0
            for operation in server.operations where operation.access != .open {
                guard let foreign = IntrusionAttempt.all(of: operation, naming: pair.bravo.names, by: pair.alpha.names)
                else {
                    Issue.record("\(operation.id): say in IntrusionAttempt how it could reach another tenant")
                    continue
                }
                let absent = IntrusionAttempt.all(of: operation, naming: .absent, by: pair.alpha.names) ?? []
                for (attempt, comparison) in zip(foreign, absent) {
                    let answer = try await attempt.send(pair.alpha.client)
                    let expected = try await comparison.send(pair.alpha.client)
                    let told = pair.bravo.names.removed(from: answer.visible)
                    #expect(told == TwoTenants.Names.absent.removed(from: expected.visible), "\(attempt)")
                    tried += 1
                }
            }
            #expect(try await Self.state(of: pair.bravo) == before)
            print("tenant isolation: \(tried) pairs of requests, another tenant's and nobody's")
        }
    }

    @Test("lists show a bound credential nothing of another tenant, whoever's cursor it follows")
    func listsStayWithinTheTenant() async throws {
        try await TestServer.run { server in
            let pair = try await TwoTenants.make(server)
            var followed = 0
            for operation in server.operations where operation.id.hasPrefix("list") {
                let (path, theirs) = Self.paths(of: operation, pair)
                var paths = ["\(path)?limit=500"]
                for (client, filter) in [(pair.bravo.client, ""), (server.operatorClient, "&tenant=bravo")] {
                    for form in [filter, ""] {
                        let page = try await client.get("\(theirs)?limit=1\(form)")
                        guard let cursor = page.json["next_cursor"]?.string else { continue }
                        paths.append("\(path)?limit=500&cursor=\(cursor)")
                        followed += 1
                    }
                }
                for path in Set(paths).sorted() {
                    let answer = try await pair.alpha.client.get(path)
                    #expect([200, 400].contains(answer.status) || answer.code == "operator_only", "\(path): \(answer)")
                    #expect(pair.bravo.names.marks.filter { answer.text.contains($0) } == [], "\(path): \(answer)")
                }
            }
            #expect(followed >= 5)
            print("tenant isolation: \(followed) cursors of others followed")
        }
    }

    @Test("what one tenant has used up, an event's name, a call's or an idempotency key, is free for another")
    func namesAreTheTenantsOwn() async throws {
        try await TestServer.run { server in
            let pair = try await TwoTenants.make(server)
            let names = pair.bravo.names
            let event = """
                {"id": "\(names.event)", "source": "\(names.source)", "type": "llm.completion", "subject": "alpha",
                 "data": {"output_tokens": 1}}
                """
            let stored = try await pair.alpha.client.post("/api/v1/events", event).expecting(200)
            #expect(stored.json["accepted"]?.number == "1")
            let voided = try await pair.alpha.client.post(
                "/api/v1/events/void",
                #"{"source": "\#(names.source)", "id": "\#(names.event)", "tenant": "alpha"}"#,
                headers: ["Idempotency-Key": names.idempotencyKey]
            ).expecting(200)
            #expect(voided.header("Idempotency-Replayed") == nil)
            #expect(voided.json["status"]?.string == "voided")
            let call = names.admission(of: "alpha")
            let admitted = try await pair.alpha.client.post("/api/v1/admissions", call).expecting(200)
            #expect(admitted.json["allowed"] == .bool(true))
            #expect(admitted.json["warnings"]?.elements == [])
            #expect(admitted.json["reservation"]?["id"]?.string != names.reservation)
        }
    }

    @Test("every operation refuses a key that has every scope but its own, and a request without a key")
    func scopesAreNeeded() async throws {
        try await TestServer.run { server in
            try await TwoTenants.make(server)
            var clients: [ScopeSet: [TestClient]] = [:]
            var tried = 0
            for operation in server.operations {
                guard case .anyOf(let needed) = operation.access else { continue }
                if clients[needed] == nil {
                    let others = ScopeSet.all.subtracting(needed).scopes
                    clients[needed] = [
                        try await server.client(others), try await server.client(others, tenant: "alpha"),
                    ]
                }
                let path = operation.path.replacing("{key}", with: "alpha").replacing("{feature}", with: "tokens")
                let method = "\(operation.method)"
                for client in clients[needed] ?? [] {
                    let answer = try await client.send(method, path, body: nil)
                    #expect(answer.status == 403, "\(operation.id): \(answer)")
                    #expect(answer.code == "insufficient_scope", "\(operation.id): \(answer)")
                    tried += 1
                }
                let anonymous = try await server.anonymous.send(method, path, body: nil)
                #expect(anonymous.status == 401, "\(operation.id): \(anonymous)")
            }
            print("scopes: \(tried) refusals")
        }
    }

    /// A list about alpha's things, and the same about bravo's.
    private static func paths(of operation: Web.Operation, _ pair: TwoTenants) -> (String, String) {
        if operation.path.contains("plans") {
            let path = operation.path.replacing("{key}", with: "pair")
            return (path, path)
        }
        return (
            IntrusionAttempt.path(of: operation, naming: pair.alpha.names),
            IntrusionAttempt.path(of: operation, naming: pair.bravo.names)
        )
    }

    /// What a tenant sees of itself.
    private static func state(of side: TwoTenants.Side) async throws -> [String] {
        var state: [String] = []
        for path in [
            "tenants/\(side.names.tenant)", "tenants/\(side.names.tenant)/quotas",
            "tenants/\(side.names.tenant)/upcoming-invoice", "tenants/\(side.names.tenant)/credit-grants",
            "tenants/\(side.names.tenant)/discounts", "credit-notes", "subscriptions", "api-keys", "clients", "events",
            "budgets", "audit-log", "alerts", "webhook-endpoints", "deliveries", "admissions/\(side.names.reservation)",
        ] {
            let shown = try await side.client.get("/api/v1/\(path)").expecting(200).text
            // A worker writes it while the test runs.
            state.append(shown.replacing(/"last_used_at":("[^"]*"|null)/, with: ""))
        }
        return state
    }
}

extension TestResponse {
    /// Everything of an answer that its caller can tell apart.
    var visible: String {
        let fields = headers.map { "\($0.name.lowercased()): \($0.value)" }
            .filter { !$0.hasPrefix("date:") && !$0.hasPrefix("content-length:") }
            .sorted()
        return "\(status)\n\(fields.joined(separator: "\n"))\n\(text)"
    }
}
