import Web
import BillingCore
import Catalog
import Postgres

/// What a replay of unmatched events did.
struct ReplayReport: Encodable, Sendable {
    /// Counted for a tenant now.
    let replayed: Int
    /// The tenant had counted the same event before.
    let duplicates: Int
    /// The tenant had counted an event of the same source and id with other content.
    let conflicts: Int
    /// Still waiting: without a tenant, beyond this replay's limit, or no longer measurable.
    let unmatched: Int
}

/// Unmatched events whose subject names a tenant by now, ready to be counted in one transaction.
struct UnmatchedReplay: Sendable {
    private let flush: IngestFlush
    private let matched: [(key: EventKey, tenant: TenantID)]
    private let subject: String?
    private let now: Instant

    private static let pageSize = 500
    /// So many events are looked at for one replay.
    private static let mostLookedAt = 100_000

    /// - Parameter limit: how many events to take at most. What can't be measured any more is passed over.
    init(subject: String?, limit: Int, by ingest: IngestService) async throws {
        var pages: [IngestPreparation.Prepared] = []
        var matched: [(key: EventKey, tenant: TenantID)] = []
        var last: EventKey?
        var lookedAt = 0
        repeat {
            let wanted = max(limit - matched.count, Self.pageSize)
            let records = try await ingest.preparation.pool.query(
                .interactive,
                UnmatchedEventStore.attributable(subject: subject, after: last, limit: wanted),
                UnmatchedEventStore.decode
            )
            var prepared = try await Self.prepare(records, by: ingest)
            for index in prepared.groups.indices {
                let tenant = prepared.groups[index].tenant.id
                let events = Array(prepared.groups[index].events.prefix(limit - matched.count))
                prepared.groups[index].events = events
                matched += events.map { (records[$0.index].key, tenant) }
            }
            prepared.groups.removeAll(where: \.events.isEmpty)
            if !prepared.groups.isEmpty { pages.append(prepared) }
            lookedAt += records.count
            last = records.count < wanted ? nil : records.last?.key
        } while last != nil && matched.count < limit && lookedAt < Self.mostLookedAt
        now = ingest.clock.now()
        flush = try IngestFlush(merging: pages, limits: ingest.preparation.limits, at: now)
        self.matched = matched
        self.subject = subject
    }

    private static func prepare(
        _ records: [UnmatchedRecord],
        by ingest: IngestService
    ) async throws -> IngestPreparation.Prepared {
        var incoming: [IngestPreparation.Incoming] = []
        for (index, record) in records.enumerated() {
            let decoder = EventDecoder(maximumEvents: 1, attribution: record.attribution)
            let batch = decoder.decode(Array(record.event.utf8), as: .structured)
            guard let event = batch.events.first else { continue }
            incoming.append(.init(event: event, time: record.time, receivedAt: record.receivedAt, index: index))
        }
        let preparation = ingest.preparation.reading(on: .interactive)
        var prepared = try await preparation.prepare(incoming, boundTo: nil)
        prepared.unmatched = []
        prepared.faults = []
        return prepared
    }

    /// Counts them, claiming the tenants' own keys: an event that the gateway has sent again in the meantime is not
    /// counted twice.
    func run(in transaction: borrowing Transaction) throws -> ReplayReport {
        let notices = try flush.run(in: transaction)
        try transaction.execute(
            UnmatchedEventStore.markReplayed(matched.map(\.key), tenants: matched.map(\.tenant), at: now)
        )
        let waiting = try transaction.first(UnmatchedEventStore.waitingCount(subject: subject)) {
            row throws(PostgresError) in try row.next(Int64.self)
        }
        let duplicates = notices.count { $0.status == .duplicate }
        let conflicts = notices.count { $0.status == .conflict }
        return ReplayReport(
            replayed: matched.count - duplicates - conflicts,
            duplicates: duplicates,
            conflicts: conflicts,
            unmatched: Int(waiting ?? 0)
        )
    }
}
