import ArgumentParser
import Foundation
import Logging
import Postgres

/// Measures a release build of the service on a PostgreSQL of its own, beside what that PostgreSQL does by itself.
@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "turnpike-bench",
        abstract: "Measures the service beside raw PostgreSQL and prints a table."
    )

    @Option(help: "The turnpike binary to measure.")
    var binary: String

    /// What can be measured alone.
    enum Part: String, CaseIterable, ExpressibleByArgument {
        case ingest, admission, closing
    }

    @Option(help: "Measures this part alone: \(Part.allCases.map(\.rawValue).joined(separator: ", ")).")
    var only: Part?

    @Option(help: "Seconds per row of ingest and admission.")
    var seconds: Double = 15

    @Option(help: "Connections of the load generator.")
    var connections = 32

    @Option(help: "Events per request of the batched row.")
    var batch = 100

    @Option(help: "Admissions that are offered in a second, for their latency.")
    var offer = 5_000

    @Option(help: "Tenants, each with a subscription.")
    var tenants = 1_000

    @Option(help: "Invoices of the row on closing periods.")
    var invoices = 10_000

    @Option(help: "The commit that is measured, for the table.")
    var commit = "unknown"

    func validate() throws {
        guard (1..<1_000).contains(connections) else { throw ValidationError("--connections must be from 1 to 999") }
    }

    func run() async throws {
        var table = ResultTable(commit: commit, connections: connections, seconds: seconds)
        for part in Part.allCases where only == nil || only == part {
            try await onCluster { cluster in
                switch part {
                case .ingest: try await measureIngest(cluster, &table)
                case .admission: try await measureAdmission(cluster, &table)
                case .closing: try await measureClosing(cluster, &table)
                }
            }
        }
        print(table.markdown)
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
            result: nil,
            raw: result.rawPerSecond
        )
        table.add(
            "invoices of `close-periods`, ten usage lines each",
            perSecond: result.invoicesPerSecond,
            result: nil,
            raw: result.rawPerSecond
        )
        table.note("peak memory of close-periods", "\(result.peakMegabytes) MB for \(invoices) invoices")
    }

    private func measureIngest(_ cluster: LocalCluster, _ table: inout ResultTable) async throws {
        let service = try MeasuredService(binary: binary, databaseURL: cluster.url)
        defer { service.stop() }
        try await service.waitUntilReady()
        note("making \(tenants) tenants with subscriptions")
        try DemoCatalog(port: service.port, key: service.key).make(tenants: tenants)

        note("raw PostgreSQL")
        let raw = try await rawBaseline(cluster.url)
        table.add(
            "raw PostgreSQL: both inserts, batches of 1,000, 2 connections",
            perSecond: raw,
            result: nil,
            raw: raw
        )
        for (run, events) in [batch, 1].enumerated() {
            note("\(events) event(s) a request")
            let template = EventTemplate(
                events: events,
                tenants: tenants,
                port: service.port,
                key: service.key,
                time: Date().ISO8601Format()
            )
            let result = try Load.run(connections: connections, seconds: seconds, port: service.port) {
                template.request(run: run + 1, connection: $0, sequence: $1)
            }
            let rate = Double(result.requests * events) / result.seconds
            let name = events == 1 ? "single-event requests" : "events in batches of \(events)"
            table.add(name, perSecond: rate, result: result, raw: raw)
        }
        table.note("service resident memory", "\(service.residentMegabytes) MB")
        let batches = EventTemplate(events: batch, tenants: 1, port: 1, key: "", time: Date().ISO8601Format())
        table.note("bytes per event on the wire", "\(EventTemplate.bytesPerEvent(batches))")
    }

    private func measureAdmission(_ cluster: LocalCluster, _ table: inout ResultTable) async throws {
        let service = try MeasuredService(binary: binary, databaseURL: cluster.url)
        defer { service.stop() }
        try await service.waitUntilReady()
        note("making \(tenants) tenants with subscriptions")
        let catalog = DemoCatalog(port: service.port, key: service.key)
        try catalog.make(tenants: tenants)
        note("raw PostgreSQL: reservations")
        let raw = try await AdmissionBaseline.reservationsPerSecond(
            cluster.url,
            tenants: tenants,
            seconds: seconds
        )
        table.add(
            "raw PostgreSQL: a hold on two limits and a reservation, 16 a transaction, 2 connections",
            perSecond: raw,
            result: nil,
            raw: raw
        )
        let template = EventTemplate(admissionsOf: tenants, port: service.port, key: service.key)
        for (run, limits) in TouchedLimits.allCases.enumerated() {
            try catalog.change(to: limits)
            note("reading every tenant once")
            try catalog.warm(tenants: tenants)
            note("admissions with \(limits.rawValue)")
            let name = "admissions that reserve, \(limits.rawValue) touched"
            let all = try Load.run(
                connections: connections,
                seconds: seconds,
                port: service.port,
                ending: Load.admitted
            ) { template.request(run: run * 2 + 1, connection: $0, sequence: $1) }
            table.add(name, perSecond: Double(all.requests) / all.seconds, result: all, raw: raw)
            try await measureOfferedBaseline(cluster, run: run, raw: raw, &table)
            let offered = try Load.run(
                connections: connections,
                seconds: seconds,
                port: service.port,
                perSecond: Double(offer),
                ending: Load.admitted
            ) { template.request(run: run * 2 + 2, connection: $0, sequence: $1) }
            table.add(
                "\(name), \(offer)/s offered",
                perSecond: Double(offered.requests) / offered.seconds,
                result: offered,
                raw: raw
            )
            if case .quotas = limits { try measureArrays(service, raw: raw, &table) }
        }
        table.note("resident memory of the service that admitted", "\(service.residentMegabytes) MB")
    }

    /// For gateways that have several calls to ask for at a time.
    private func measureArrays(_ service: MeasuredService, raw: Double, _ table: inout ResultTable) throws {
        note("admissions in arrays of \(Self.arrayCalls)")
        let template = EventTemplate(
            calls: Self.arrayCalls,
            admissionsOf: tenants,
            port: service.port,
            key: service.key
        )
        let all = try Load.run(
            connections: connections,
            seconds: seconds,
            port: service.port,
            ending: Load.lastAdmitted
        ) { template.request(run: Self.arrayRun, connection: $0, sequence: $1) }
        table.add(
            "admissions that reserve, in arrays of \(Self.arrayCalls), \(TouchedLimits.quotas.rawValue) touched",
            perSecond: Double(all.requests * Self.arrayCalls) / all.seconds,
            result: all,
            raw: raw
        )
    }

    private static let arrayCalls = 10
    /// Beyond those of the rows before, so that each call has another id.
    private static let arrayRun = 100

    private func measureOfferedBaseline(
        _ cluster: LocalCluster,
        run: Int,
        raw: Double,
        _ table: inout ResultTable
    ) async throws {
        storeWhatIsWritten()
        let result = try await AdmissionBaseline.latencies(
            cluster.url,
            tenants: tenants,
            run: run,
            perSecond: offer,
            seconds: seconds
        )
        table.add(
            "raw PostgreSQL: a hold on two limits and a reservation, 4 a transaction, \(offer)/s offered",
            perSecond: Double(result.requests) / result.seconds,
            result: result,
            raw: raw
        )
        storeWhatIsWritten()
    }

    /// Gives the server a gigabyte of used segments of its log to go on with, as one has that has run for a while. A
    /// new cluster makes each segment anew, and every COMMIT waits until 16 MB of zeros are stored.
    private func recycleWAL(of cluster: LocalCluster) async throws {
        let fill =
            "SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1048576))) FROM generate_series(1, 1024)"
        try await PostgresDatabase.run(fill, at: cluster.url)
        try await PostgresDatabase.run("CHECKPOINT", at: cluster.url)
    }

    /// Latencies of an offered rate must not pay for the pages that the row before has left to the system to store.
    private func storeWhatIsWritten() { sync() }

    private func rawBaseline(_ url: String) async throws -> Double {
        var configuration = PostgresConfiguration(url: url)
        configuration.ingest = PostgresLaneLimits(connections: 2, waiting: 2)
        let pool = PostgresPool(configuration)
        let rate = try await RawBaseline.eventsPerSecond(pool: pool, seconds: seconds)
        await pool.close()
        return rate
    }

    private func note(_ text: String) {
        FileHandle.standardError.write(Data("bench: \(text)\n".utf8))
    }
}
