import ArgumentParser
import Foundation
import Postgres

/// Measures a release build of the service on a PostgreSQL of its own, beside what that PostgreSQL does by itself.
@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "turnpike-bench",
        abstract: "Measures the service beside raw PostgreSQL and prints a table. Ends with 1 where requests failed."
    )

    @Option(help: "The turnpike binary to measure.")
    var binary: String

    /// What can be measured alone.
    enum Part: String, CaseIterable, ExpressibleByArgument {
        case ingest, admission, quotas, closing
    }

    @Option(help: "Measures this part alone: \(Part.allCases.map(\.rawValue).joined(separator: ", ")).")
    var only: Part?

    @Option(help: "Seconds per row of ingest, admission and quotas.")
    var seconds: Double = 15

    @Option(help: "Connections of the load generator.")
    var connections = 32

    @Option(help: "Events per request of the batched row.")
    var batch = 100

    @Option(help: "Requests that are offered in a second, for their latency.")
    var offer = 5_000

    @Option(help: "Tenants, each with a subscription.")
    var tenants = 1_000

    @Option(help: "Invoices of the row on closing periods.")
    var invoices = 10_000

    @Option(help: "The commit that is measured, for the table.")
    var commit = "unknown"

    func validate() throws {
        guard (1...600).contains(seconds) else { throw ValidationError("--seconds must be from 1 to 600") }
        let options = [
            ("connections", connections, 1...999), ("batch", batch, 1...RequestTemplate.mostEvents),
            ("offer", offer, 1...100_000), ("tenants", tenants, Self.arrayCalls...1_000_000),
            ("invoices", invoices, 1...1_000_000),
        ]
        for (name, value, bounds) in options where !bounds.contains(value) {
            throw ValidationError("--\(name) must be from \(bounds.lowerBound) to \(bounds.upperBound)")
        }
    }

    func run() async throws {
        var table = ResultTable(commit: commit, connections: connections, seconds: seconds)
        for part in Part.allCases where only == nil || only == part {
            try await onCluster { cluster in
                table.server = try await MeasuredServer.description(at: cluster.url)
                switch part {
                case .ingest: try await measureIngest(cluster, &table)
                case .admission: try await measureAdmission(cluster, &table)
                case .quotas: try await measureQuotas(cluster, &table)
                case .closing: try await measureClosing(cluster, &table)
                }
            }
        }
        let settings = MeasuredService.shownSettings
        if !settings.isEmpty { table.note("settings of the caller's environment", settings) }
        print(table.markdown)
        if table.hasFailures { throw ExitCode.failure }
    }

    private func onCluster(_ body: (LocalCluster) async throws -> Void) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("turnpike-bench-\(getpid())")
        let cluster = try LocalCluster(directory: directory.path)
        defer { try? FileManager.default.removeItem(at: directory) }
        try cluster.start(settings: ["min_wal_size": "1GB", "max_wal_size": "4GB"])
        do {
            try await recycleWAL(of: cluster)
            try await body(cluster)
        } catch {
            try cluster.stop()
            throw error
        }
        try cluster.stop()
    }

    private func measureClosing(_ cluster: LocalCluster, _ table: inout ResultTable) async throws {
        note("closing \(invoices) periods")
        let result = try await PeriodClose(binary: binary, invoices: invoices).run(cluster)
        table.add(
            "raw PostgreSQL: rows of invoices with ten lines, 300 a transaction, 2 connections",
            perSecond: result.rawPerSecond,
            raw: result.rawPerSecond
        )
        table.add(
            "invoices of `close-periods`, ten usage lines each",
            perSecond: result.invoicesPerSecond,
            raw: result.rawPerSecond
        )
        table.note("peak memory of close-periods", "\(result.peakMegabytes) MB for \(invoices) invoices")
    }

    private func measureIngest(_ cluster: LocalCluster, _ table: inout ResultTable) async throws {
        let (service, catalog) = try await demoService(on: cluster)
        defer { service.stop() }

        note("raw PostgreSQL")
        let raw = try await RawBaseline.eventsPerSecond(cluster.url, seconds: seconds)
        table.add("raw PostgreSQL: both inserts, batches of 1,000, 2 connections", perSecond: raw, raw: raw)
        note("reading every tenant once")
        try catalog.warm(tenants: tenants)
        for (row, events) in [batch, 1].enumerated() {
            note("\(events) event(s) a request")
            let template = RequestTemplate(
                events: events,
                tenants: tenants,
                port: service.port,
                key: service.key,
                time: Date().ISO8601Format()
            )
            // What comes first plans its statements, and makes the rows of its tenants' counters.
            _ = try load([template], run: row * 2 + 1, on: service, seconds: 1)
            let stored = try await MeasuredServer.bytesOfEvents(at: cluster.url)
            let result = try load([template], run: row * 2 + 2, on: service, seconds: seconds)
            let name = events == 1 ? "single-event requests" : "events in batches of \(events)"
            table.add(name, perSecond: result.perSecond * Double(events), result: result, raw: raw)
            let bytes = try await MeasuredServer.bytesOfEvents(at: cluster.url) - stored
            table.note("bytes of an event on disk, \(name)", "\(Int(bytes) / max(1, result.requests * events))")
        }
        table.note("service resident memory", "\(service.residentMegabytes) MB")
        let batches = RequestTemplate(events: batch, tenants: 1, port: 1, key: "", time: Date().ISO8601Format())
        table.note("bytes per event on the wire", "\(batches.bytesPerEvent)")
    }

    /// A service that is ready, with tenants that have subscriptions. The caller stops it.
    func demoService(on cluster: LocalCluster) async throws -> (MeasuredService, DemoCatalog) {
        let service = try MeasuredService(binary: binary, databaseURL: cluster.url)
        do {
            try await service.waitUntilReady()
            note("making \(tenants) tenants with subscriptions")
            let catalog = DemoCatalog(port: service.port, key: service.key)
            try catalog.make(tenants: tenants)
            return (service, catalog)
        } catch {
            service.stop()
            throw error
        }
    }

    /// - Parameters:
    ///   - run: see `RequestTemplate.fill`.
    ///   - perSecond: how many requests are offered; nil for a closed loop.
    func load(
        _ templates: [RequestTemplate],
        run: Int,
        on service: MeasuredService,
        seconds: Double,
        perSecond: Int? = nil
    ) throws -> LoadResult {
        var load = try Load(
            templates,
            run: run,
            connections: connections,
            seconds: seconds,
            port: service.port,
            perSecond: perSecond
        )
        return try load.measure()
    }

    /// Gives the server a gigabyte of used segments of its log to go on with, as one has that has run for a while. A
    /// new cluster makes each segment anew, and every COMMIT waits until 16 MB of zeros are stored.
    private func recycleWAL(of cluster: LocalCluster) async throws {
        let fill =
            "SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1048576))) FROM generate_series(1, 1024)"
        try await PostgresDatabase.run(fill, at: cluster.url)
        try await PostgresDatabase.run("CHECKPOINT", at: cluster.url)
    }

    func note(_ text: String) {
        FileHandle.standardError.write(Data("bench: \(text)\n".utf8))
    }
}
