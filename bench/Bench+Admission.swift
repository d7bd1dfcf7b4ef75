import Foundation
import Postgres

/// The rows of admissions.
extension Bench {
    static let arrayCalls = 10
    /// Beyond those of the rows before, so that each call has another id.
    private static let arrayRun = 90

    /// What raw PostgreSQL reaches with transactions of two sizes.
    private struct RawRates {
        let ofFlushes: Double
        let ofLargeFlushes: Double
    }

    /// About as many calls as the service decides together with 32 connections, and with ten times as many calls.
    private static let flushedCalls = 16
    private static let largeFlushedCalls = 160

    func measureAdmission(_ cluster: LocalCluster, _ table: inout ResultTable) async throws {
        let (service, catalog) = try await demoService(on: cluster)
        defer { service.stop() }
        try await MeasuredServer.waitForWorkers(at: cluster.url)
        let raw = try await measureRawReservations(cluster, &table)
        let template = RequestTemplate(admissionsOf: tenants, port: service.port, key: service.key)
        for (row, limits) in TouchedLimits.allCases.enumerated() {
            try catalog.change(to: limits)
            note("reading every tenant once")
            try catalog.warm(tenants: tenants)
            try requireLimits(limits.count, touchedBy: template, run: row * 2 + 1, of: service)
            try await MeasuredServer.waitForWorkers(at: cluster.url)
            note("admissions with \(limits.rawValue)")
            let name = "admissions that reserve, \(limits.rawValue) touched"
            let all = try load([template], run: row * 2 + 1, on: service, seconds: seconds)
            let comparable = connections > 32 ? raw.ofLargeFlushes : raw.ofFlushes
            table.add(name, perSecond: all.perSecond, result: all, raw: comparable)
            try await measureOfferedBaseline(cluster, series: 2 + row, &table)
            try await MeasuredServer.waitForWorkers(at: cluster.url)
            let offered = try load([template], run: row * 2 + 2, on: service, seconds: seconds, perSecond: offer)
            table.add("\(name), \(offer)/s offered", perSecond: offered.perSecond, result: offered, raw: nil)
            if case .quotas = limits { try await measureArrays(service, cluster, raw: raw.ofLargeFlushes, &table) }
        }
        table.note("resident memory of the service that admitted", "\(service.residentMegabytes) MB")
    }

    private func measureRawReservations(_ cluster: LocalCluster, _ table: inout ResultTable) async throws -> RawRates {
        var rates: [Double] = []
        for batch in [Self.flushedCalls, Self.largeFlushedCalls] {
            note("raw PostgreSQL: reservations, \(batch) a transaction")
            let rate = try await AdmissionBaseline.reservationsPerSecond(
                cluster.url,
                tenants: tenants,
                batch: batch,
                series: rates.count,
                seconds: seconds
            )
            table.add(
                "raw PostgreSQL: a hold on two limits and a reservation, \(batch) a transaction, 2 connections",
                perSecond: rate,
                raw: rate
            )
            rates.append(rate)
        }
        return RawRates(ofFlushes: rates[0], ofLargeFlushes: rates[1])
    }

    /// For gateways that have several calls to ask for at a time.
    private func measureArrays(
        _ service: MeasuredService,
        _ cluster: LocalCluster,
        raw: Double,
        _ table: inout ResultTable
    ) async throws {
        let template = RequestTemplate(
            calls: Self.arrayCalls,
            admissionsOf: tenants,
            port: service.port,
            key: service.key
        )
        let limits = TouchedLimits.quotas
        try requireLimits(limits.count, touchedBy: template, run: Self.arrayRun, of: service)
        try await MeasuredServer.waitForWorkers(at: cluster.url)
        note("admissions in arrays of \(Self.arrayCalls)")
        let all = try load([template], run: Self.arrayRun, on: service, seconds: seconds)
        table.add(
            "admissions that reserve, in arrays of \(Self.arrayCalls), \(limits.rawValue) touched",
            perSecond: all.perSecond * Double(Self.arrayCalls),
            result: all,
            raw: raw
        )
    }

    /// Asks once, under an id that no connection of the load uses, and reads the answer as a whole.
    /// - Throws: where a call touches another number of limits than the row is to say.
    private func requireLimits(
        _ count: Int,
        touchedBy template: RequestTemplate,
        run: Int,
        of service: MeasuredService
    ) throws {
        var request = template.bytes
        template.fill(&request, run: run, connection: connections, sequence: 0)
        let answer = try LoadConnection(port: service.port).exchange(request)
        let body = Data(answer.body)
        guard template.isExpected(status: answer.status, body: answer.body) else {
            throw LoadConnection.Failure(
                description: "a call was not admitted: \(answer.status) \(String(decoding: body, as: UTF8.self))"
            )
        }
        let decoder = JSONDecoder()
        let calls =
            try (try? decoder.decode(AnsweredCalls.self, from: body))?.data
            ?? [decoder.decode(AnsweredCall.self, from: body)]
        for call in calls where call.limits.count != count {
            let touched = call.limits.map(\.key).joined(separator: ", ")
            throw LoadConnection.Failure(
                description: "a call touches \(call.limits.count) limits and not \(count): \(touched)"
            )
        }
    }

    private func measureOfferedBaseline(
        _ cluster: LocalCluster,
        series: Int,
        _ table: inout ResultTable
    ) async throws {
        storeWhatIsWritten()
        let result = try await AdmissionBaseline.latencies(
            cluster.url,
            tenants: tenants,
            series: series,
            perSecond: offer,
            seconds: seconds
        )
        table.add(
            "raw PostgreSQL: a hold on two limits and a reservation, 4 a transaction, \(offer)/s offered",
            perSecond: result.perSecond,
            result: result,
            raw: nil
        )
        storeWhatIsWritten()
    }

    /// Latencies of an offered rate must not pay for the pages that the row before has left to the system to store.
    func storeWhatIsWritten() { sync() }
}

/// What is checked of an answer: which limits each call touched.
private struct AnsweredCalls: Decodable {
    let data: [AnsweredCall]
}

private struct AnsweredCall: Decodable {
    struct Limit: Decodable {
        let key: String
    }

    let limits: [Limit]
}
