import BillingCore
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Webhooks

/// A service whose endpoints may lead to loopback addresses, with the tenants acme and globex, numbers 1 and 2.
enum HookStory {
    static func run(
        clock: TestClock = TestClock(),
        configure: (inout Configuration) -> Void = { _ in },
        _ body: (TestServer) async throws -> Void
    ) async throws {
        try await TestServer.run(
            clock: clock,
            configure: { configuration in
                configuration.outboundAllowed = [AddressRange("127.0.0.1")].compactMap(\.self)
                configuration.webhookAllowed = configuration.outboundAllowed
                configure(&configuration)
            }
        ) { server in
            for tenant in ["acme", "globex"] {
                try await server.operatorClient.post(
                    "/api/v1/tenants",
                    #"{"key": "\#(tenant)", "name": "\#(tenant)", "currency": "USD"}"#
                ).expecting(201)
            }
            try await body(server)
        }
    }
}

extension TestServer {
    /// Makes an endpoint and gives its secret.
    @discardableResult
    func makeEndpoint(
        _ key: String,
        _ url: String,
        events: String = "*",
        _ more: String = "",
        by client: TestClient? = nil
    ) async throws -> JSONValue {
        try await (client ?? operatorClient).post(
            "/api/v1/webhook-endpoints",
            #"{"key": "\#(key)", "url": "\#(url)", "events": ["\#(events)"]\#(more)}"#
        ).expecting(201).json
    }

    /// Puts events in the outbox, as a room does with a change of its own.
    @discardableResult
    func tell(
        _ types: [WebhookEventType],
        tenant: Int64 = 1,
        isForOperatorOnly: Bool = false,
        data: String = #"{"tenant":"acme","number":"INV-1"}"#
    ) async throws -> [String] {
        let events = try types.map { type in
            OutboxEvent(
                id: IDSource.random(clock.clock).next(),
                tenant: TenantID(tenant),
                type: type,
                occurredAt: clock.now,
                data: try JSONValue(parsing: data),
                isForOperatorOnly: isForOperatorOnly
            )
        }
        try await withPool { pool in
            try await pool.transaction(.worker) { Outbox.enqueue(events, in: $0) }
        }
        return events.map(\.id.description)
    }

    /// The deliveries of a list, the newest first.
    func deliveries(_ query: String = "", by client: TestClient? = nil) async throws -> [JSONValue] {
        try await (client ?? operatorClient).get("/api/v1/deliveries\(query)").expecting(200).json["data"]?.elements
            ?? []
    }

    /// Moves the clock to when all that waits is due, while no attempt is under way, whose lease would end by that.
    func skipToNextAttempts() async throws {
        let next = try await column(
            """
            SELECT to_char(max(next_attempt_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            FROM webhook_delivery WHERE status = 'pending' HAVING count(leased_until) = 0
            """
        )
        if let text = next.first ?? nil { clock.set(max(clock.now, try Instant(parsing: text))) }
    }

    /// Waits until the deliveries have these states, in any order.
    func deliveries(reach states: [String], _ query: String = "") async throws -> Bool {
        try await eventually(within: .seconds(30)) {
            try await deliveries(query).compactMap { $0["status"]?.string }.sorted() == states.sorted()
        }
    }
}
