import Foundation
import Postgres

/// Closing of billing periods: `turnpike close-periods` over tenants of which each has one period that is due, with ten
/// lines of usage.
///
/// One tenant is made over HTTP and gets its usage; the others are copies of its rows, because making them is not what
/// is measured.
struct PeriodClose {
    /// What a run gives.
    struct Result {
        let invoicesPerSecond: Double
        /// Invoices whose rows PostgreSQL by itself inserts into tables with the same indexes.
        let rawPerSecond: Double
        let peakMegabytes: Int
    }

    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    private static let lines = 10
    private static let batch: Int64 = 300

    let binary: String
    let invoices: Int

    func run(_ cluster: LocalCluster) async throws -> Result {
        let url = try cluster.url
        let service = try MeasuredService(binary: binary, databaseURL: url)
        do {
            try await service.waitUntilReady()
            try ClosingCatalog(port: service.port, key: service.key, features: Self.lines).make()
            service.stop()
        } catch {
            service.stop()
            throw error
        }
        let pool = PostgresPool(PostgresConfiguration(url: url).asOwner())
        do {
            try await multiply(pool)
            let closing = try await close(url)
            try await check(pool)
            let raw = try await rawSeconds(pool)
            await pool.close()
            return Result(
                invoicesPerSecond: Double(invoices) / closing.seconds,
                rawPerSecond: Double(invoices) / raw,
                peakMegabytes: closing.peakMegabytes
            )
        } catch {
            await pool.close()
            throw error
        }
    }

    /// Makes the one tenant many.
    private func multiply(_ pool: PostgresPool) async throws {
        let copies = Int64(invoices - 1)
        for statement in Self.copying(copies) {
            try await pool.execute(.worker, statement)
        }
        try await pool.execute(.worker, "ANALYZE")
    }

    private static func copying(_ copies: Int64) -> [SQL] {
        [
            """
            INSERT INTO tenant
            SELECT (jsonb_populate_record(t, jsonb_build_object('tenant_id', 1000 + n, 'key', 'copy-' || n))).*
            FROM tenant AS t, generate_series(1, \(copies)) AS n
            """,
            """
            INSERT INTO subject_directory (subject, tenant_id, is_key)
            SELECT 'copy-' || n, 1000 + n, true FROM generate_series(1, \(copies)) AS n
            """,
            """
            INSERT INTO tenant_ledger
            SELECT (jsonb_populate_record(t, jsonb_build_object('tenant_id', 1000 + n))).*
            FROM tenant_ledger AS t, generate_series(1, \(copies)) AS n
            WHERE t.ledger_seq > 0
            """,
            """
            INSERT INTO subscription
            SELECT (jsonb_populate_record(s, jsonb_build_object(
                'tenant_id', 1000 + n, 'subscription_id', md5('subscription' || n)))).*
            FROM subscription AS s, generate_series(1, \(copies)) AS n
            """,
            """
            INSERT INTO subscription_segment
            SELECT (jsonb_populate_record(s, jsonb_build_object(
                'tenant_id', 1000 + n, 'subscription_id', md5('subscription' || n)))).*
            FROM subscription_segment AS s, generate_series(1, \(copies)) AS n
            """,
            """
            INSERT INTO billing_period
            SELECT (jsonb_populate_record(p, jsonb_build_object('tenant_id', 1000 + n, 'subscription_id',
                md5('subscription' || n), 'billing_period_id', 1000 + n))).*
            FROM billing_period AS p, generate_series(1, \(copies)) AS n
            """,
            """
            INSERT INTO usage_counter
            SELECT (jsonb_populate_record(c, jsonb_build_object(
                'tenant_id', 1000 + n, 'billing_period_id', 1000 + n))).*
            FROM usage_counter AS c, generate_series(1, \(copies)) AS n
            """,
        ]
    }

    private func close(_ url: String) async throws -> (seconds: Double, peakMegabytes: Int) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: binary)
        process.arguments = ["close-periods"]
        // Without grace one run drafts and finalises.
        process.environment = MeasuredService.environment([
            "DATABASE_URL": url, "TURNPIKE_INVOICE_GRACE_HOURS": "0",
        ])
        process.standardOutput = FileHandle.standardError
        process.standardError = FileHandle.nullDevice
        let start = ContinuousClock.now
        try process.run()
        var peak = 0
        while process.isRunning {
            peak = max(peak, residentPeakMegabytes(of: process.processIdentifier))
            try await Task.sleep(for: .milliseconds(20))
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        guard process.terminationStatus == 0 else {
            throw Failed(description: "close-periods ended with status \(process.terminationStatus)")
        }
        return (seconds, peak)
    }

    private func check(_ pool: PostgresPool) async throws {
        let counts = try await pool.query(
            .worker,
            """
            SELECT (SELECT count(*) FROM invoice WHERE kind = 'regular' AND status = 'finalized'),
                (SELECT count(*) FROM invoice_line WHERE kind = 'usage')
            """
        ) { row throws(PostgresError) in (try row.next(Int64.self), try row.next(Int64.self)) }
        guard let counts = counts.first, counts == (Int64(invoices), Int64(invoices * Self.lines)) else {
            throw Failed(description: "\(counts) invoices and lines were made of \(invoices) periods")
        }
    }

    /// How long PostgreSQL takes to insert the same rows into tables with the same indexes, on two connections.
    private func rawSeconds(_ pool: PostgresPool) async throws -> Double {
        try await pool.execute(.worker, "CREATE TABLE raw_invoice (LIKE invoice INCLUDING ALL)")
        try await pool.execute(.worker, "CREATE TABLE raw_document (LIKE invoice_document INCLUDING ALL)")
        try await pool.execute(.worker, "CREATE TABLE raw_line (LIKE invoice_line INCLUDING ALL)")
        let start = ContinuousClock.now
        let last = Int64(1_000 + invoices)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for half in 0..<2 {
                group.addTask {
                    for first in stride(from: Int64(half) * Self.batch, through: last, by: 2 * Int(Self.batch)) {
                        try await pool.transaction(.worker) { transaction in
                            transaction.enqueue(
                                """
                                INSERT INTO raw_invoice SELECT * FROM invoice
                                WHERE tenant_id >= \(first) AND tenant_id < \(first + Self.batch)
                                """
                            )
                            transaction.enqueue(
                                """
                                INSERT INTO raw_document SELECT * FROM invoice_document
                                WHERE tenant_id >= \(first) AND tenant_id < \(first + Self.batch)
                                """
                            )
                            transaction.enqueue(
                                """
                                INSERT INTO raw_line SELECT * FROM invoice_line
                                WHERE tenant_id >= \(first) AND tenant_id < \(first + Self.batch)
                                """
                            )
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        return (ContinuousClock.now - start) / .seconds(1)
    }
}

/// A plan with so many priced features, all fed by one event, and one tenant whose first period has ended.
struct ClosingCatalog {
    let port: Int
    let key: String
    let features: Int

    func make() throws {
        let connection = try LoadConnection(port: port)
        let now = Date()
        func post(_ path: String, _ body: String) throws {
            try DemoCatalog(port: port, key: key).post(path, body, on: connection)
        }
        try post("/meters", #"{"key":"units","event_type":"job.done","aggregation":"sum","value":"units"}"#)
        for feature in 0..<features {
            try post("/features", #"{"key":"f\#(feature)","name":"Feature \#(feature)","meter":"units","unit":"unit"}"#)
        }
        let charges = (0..<features).map { feature in
            """
            {"feature":"f\(feature)","price":{"model":"graduated","tiers":[{"up_to":"1000","unit_amount":"0.01"},\
            {"up_to":null,"unit_amount":"0.0075"}]}}
            """
        }
        try post("/plans", #"{"key":"many","name":"Many","currency":"USD"}"#)
        try post("/plans/many/versions", #"{"charges":[\#(charges.joined(separator: ","))]}"#)
        try post("/plans/many/versions/1/publish", "{}")
        try post("/tenants", #"{"key":"first","name":"First","currency":"USD"}"#)
        // 33 days ago: the first period ended two to five days ago, which is longer than the grace.
        let start = now.addingTimeInterval(-33 * 86_400).ISO8601Format()
        try post("/subscriptions", #"{"tenant":"first","plan":"many","version":1,"starts_at":"\#(start)"}"#)
        let time = now.addingTimeInterval(-20 * 86_400).ISO8601Format()
        try post(
            "/events",
            #"{"id":"e1","source":"s","type":"job.done","subject":"first","time":"\#(time)","data":{"units":1234.5}}"#
        )
    }
}

/// The most memory a process has had resident.
func residentPeakMegabytes(of process: Int32) -> Int {
    let status = (try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    return (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0) / 1_024
}
