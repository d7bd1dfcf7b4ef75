import Postgres
import TestSupport
import Web

/// A tenant with a fee of 100 a month in advance, from the start of November, in the room of credits.
enum CreditStory {
    static func run(
        currency: String = "USD",
        plan: String = #"{"fees":[{"key":"base","name":"Base","amount":"100","charged":"in_advance"}]}"#,
        _ body: (TestServer) async throws -> Void
    ) async throws {
        try await TestServer.run(clock: TestClock("2026-11-01T00:00:00Z")) { server in
            try await server.addTenant("acme", currency: currency)
            try await server.publish(plan, currency: currency)
            try await server.subscribe(at: "2026-11-01T00:00:00Z")
            try await body(server)
        }
    }
}

extension TestServer {
    /// Finalises what is due at a time, and sets the clock to it.
    func closeInvoices(at time: String) async throws {
        try set(time)
        try await close()
    }

    /// Each is later than the one before, and so are their ids.
    func grant(_ body: String, tenant: String = "acme") async throws -> String {
        clock.advance(seconds: 1)
        return try await ask("POST", "/tenants/\(tenant)/credit-grants", body, expecting: 201)["id"]?.string ?? ""
    }

    /// The audit log's actions about resources of a type, by name.
    func audited(_ type: String) async throws -> [String] {
        try await column("SELECT action FROM audit_log WHERE resource_type = \(type) ORDER BY action")
            .compactMap { $0 }
    }
}
