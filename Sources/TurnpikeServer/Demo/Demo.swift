import BillingCore
import Identity
package import Web

/// A small catalogue with real usage, made over HTTP like anybody would make it. What is there already is kept, so it
/// may be prepared again at every start.
package struct Demo: Sendable {
    package static let tenant = "acme"
    private let client: DemoClient
    private let clock: Clock

    /// - Parameters:
    ///   - host: where the service answers, beside `port`.
    ///   - keys: with an operator key that the service knows.
    package init(host: String, port: Int, keys: DemoKeys, clock: Clock = .system) {
        client = DemoClient(host: host, port: port, key: keys.operatorKey.text)
        self.clock = clock
    }

    /// Makes what is missing.
    /// - Returns: the keys, with those of the gateway and the portal made anew where the service doesn't know them.
    package func prepare(_ keys: DemoKeys) async throws -> DemoKeys {
        for resource in DemoCatalogue.resources where try await client.get(resource.path) == nil {
            try await client.post(resource.collection, resource.body)
        }
        try await publishPlan()
        for tenant in DemoCatalogue.tenants { try await subscribe(tenant) }
        if try await isEmpty("/api/v1/events?limit=1&tenant=\(Self.tenant)") {
            try await client.post("/api/v1/events", DemoEvents.batch(now: clock.now()))
        }
        var keys = keys
        keys.gatewayKey = try await key(keys.gatewayKey, DemoCatalogue.gatewayKey)
        keys.portalKey = try await key(keys.portalKey, DemoCatalogue.portalKey)
        return keys
    }

    private func publishPlan() async throws {
        let path = "/api/v1/plans/\(DemoCatalogue.plan)/versions"
        var version = try await client.get("\(path)/1")
        if version == nil { version = try await client.post(path, DemoCatalogue.version) }
        if version?["status"] == .string("draft") { try await client.post("\(path)/1/publish") }
    }

    /// From the start of the month in the tenant's zone that the first event of the demo falls in.
    private func subscribe(_ tenant: DemoCatalogue.Tenant) async throws {
        guard try await isEmpty("/api/v1/subscriptions?limit=1&tenant=\(tenant.key)") else { return }
        guard let zone = Zone(identifier: tenant.zone) else {
            throw DemoClient.Failure(description: "the time zone \(tenant.zone) is not known here: install tzdata")
        }
        let first = DemoEvents.earliest(before: clock.now())
        let start = CalendarWindows(zone: zone).window(.month, containing: first).start
        try await client.post(
            "/api/v1/subscriptions",
            #"{"tenant": "\#(tenant.key)", "plan": "\#(DemoCatalogue.plan)", "version": 1, "starts_at": "\#(start)"}"#
        )
    }

    private func isEmpty(_ list: String) async throws -> Bool {
        guard case .array(let data)? = try await client.get(list)?["data"] else { return true }
        return data.isEmpty
    }

    /// The key if the service knows it, else a new one.
    private func key(_ known: APIKeyText?, _ input: String) async throws -> APIKeyText {
        if let known {
            let caller = DemoClient(host: client.host, port: client.port, key: known.text)
            if try await caller.isKnown() { return known }
        }
        guard case .string(let text)? = try await client.post("/api/v1/api-keys", input)["key"] else {
            throw DemoClient.Failure(description: "the answer to POST /api/v1/api-keys has no key")
        }
        return try APIKeyText(parsing: text)
    }
}
