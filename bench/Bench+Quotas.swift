import Foundation
import Postgres

/// The rows of quotas that are read in portals.
extension Bench {
    func measureQuotas(_ cluster: LocalCluster, _ table: inout ResultTable) async throws {
        let (service, catalog) = try await demoService(on: cluster)
        defer { service.stop() }
        try await MeasuredServer.waitForWorkers(at: cluster.url)

        note("raw PostgreSQL: reading quotas")
        let raw = try await QuotaBaseline.readsPerSecond(cluster.url, tenants: tenants, seconds: seconds)
        table.add("raw PostgreSQL: two limits of a tenant read by their keys, 2 connections", perSecond: raw, raw: raw)
        // So that the rows of the quotas are there.
        let events = RequestTemplate(
            events: batch,
            tenants: tenants,
            port: service.port,
            key: service.key,
            time: Date().ISO8601Format()
        )
        _ = try load([events], run: 1, on: service, seconds: 1)

        let sessions = try (0..<min(connections, tenants)).map { tenant in
            RequestTemplate(
                quotasOf: DemoCatalog.name(of: tenant),
                count: 2,
                port: service.port,
                token: try catalog.portalToken(of: tenant, on: LoadConnection(port: service.port))
            )
        }
        let name = "two quotas read by a portal's token"
        note(name)
        let all = try load(sessions, run: 2, on: service, seconds: seconds)
        table.add(name, perSecond: all.perSecond, result: all, raw: raw)
        storeWhatIsWritten()
        let offered = try load(sessions, run: 3, on: service, seconds: seconds, perSecond: offer)
        table.add("\(name), \(offer)/s offered", perSecond: offered.perSecond, result: offered, raw: nil)
        table.note("resident memory of the service whose quotas were read", "\(service.residentMegabytes) MB")
        try await measureStart(cluster, &table)
    }

    /// Of one more replica, on the database that is migrated and in use.
    private func measureStart(_ cluster: LocalCluster, _ table: inout ResultTable) async throws {
        let replica = try MeasuredService(binary: binary, databaseURL: cluster.url)
        defer { replica.stop() }
        let took = try await replica.waitUntilReady()
        table.note("from its start a replica is ready after", "\(Int(took / .milliseconds(1))) ms (\(tenants) tenants)")
    }
}

/// What PostgreSQL itself does for a portal: two rows by their keys, in a transaction.
private enum QuotaBaseline {
    static func readsPerSecond(_ url: String, tenants: Int, seconds: Double) async throws -> Double {
        let connection = try RawConnections.connection(to: url)
        // Tenants are nobody's.
        let make: SQL = """
            INSERT INTO limit_state (
                tenant_id, limit_id, scope_value, window_start, window_end, used, held, overshoot, limit_amount,
                limit_revision
            )
            SELECT -tenant, -quota, '', timestamptz '2000-01-01', timestamptz '2100-01-01', 0, 0, 0, 1000000000, 1
            FROM generate_series(1, \(Int64(tenants))) AS tenant, generate_series(1, 2) AS quota
            """
        try await RawConnections.commit([make], on: connection)
        return try await RawConnections.perSecond(url, seconds: seconds, batch: 1) { lane, before in
            let tenant = -1 - (before * 17 + lane) % Int64(tenants)
            let read: SQL = """
                SELECT tenant_id, limit_id, scope_value, window_start, used, held, overshoot, limit_amount
                FROM limit_state
                WHERE (tenant_id, limit_id, scope_value, window_start)
                    IN ((\(tenant), -1, '', '2000-01-01'), (\(tenant), -2, '', '2000-01-01'))
                """
            return [read]
        }
    }
}
