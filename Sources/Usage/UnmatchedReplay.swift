import Web
import BillingCore
import Catalog
import Postgres

/// What a replay of unmatched events did.
struct ReplayReport: Encodable, Sendable {
    /// Counted for a tenant now.
    var replayed = 0
    /// The tenant had counted the same event before.
    var duplicates = 0
    /// The tenant had counted an event of the same source and id with other content.
    var conflicts = 0
    /// Still waiting: without a tenant, beyond this replay's limit, no longer measurable, or overflowing.
    var unmatched = 0
    /// Left waiting because with them a counter would overflow. Beside such an event others may be left, where there
    /// are too many to find each.
    var overflowing = 0

    /// How many events do not wait any more.
    var settled: Int { replayed + duplicates + conflicts }

    /// Adds what was done after this.
    mutating func add(_ later: ReplayReport) {
        replayed += later.replayed
        duplicates += later.duplicates
        conflicts += later.conflicts
        overflowing += later.overflowing
        unmatched = later.unmatched
    }
}

/// Unmatched events whose subject names a tenant by now, ready to be counted in one transaction.
struct UnmatchedReplay: Sendable {
    private struct Matched: Sendable {
        /// Under which it waits.
        let key: EventKey
        let tenant: TenantSnapshot
        let event: PendingEvent
    }

    /// Of those that it takes; nil for any.
    let subject: String?
    private var matched: [Matched]
    private let shared: CatalogSnapshot
    private let limits: LimitPolicy
    private let now: Instant

    private static let pageSize = 500
    /// So many events are looked at for one replay.
    private static let mostLookedAt = 100_000

    /// - Parameter limit: how many events to take at most. What can't be measured any more is passed over.
    /// - Throws: `StaleCatalog` when the catalogue changed between two pages of events.
    init(subject: String?, limit: Int, by ingest: IngestService) async throws {
        var matched: [Matched] = []
        var shared: CatalogSnapshot?
        // From a random key on, and then from the first: what stays behind one replay is not in the way of each.
        let start = EventKey(high: .random(in: 0 ... .max), low: .random(in: 0 ... .max))
        var (last, end): (EventKey?, EventKey?) = (start, nil)
        var lookedAt = 0
        repeat {
            let wanted = max(limit - matched.count, Self.pageSize)
            let records = try await ingest.preparation.pool.query(
                .interactive,
                UnmatchedEventStore.attributable(subject: subject, after: last, through: end, limit: wanted),
                UnmatchedEventStore.decode
            )
            let prepared = try await Self.prepare(records, by: ingest)
            if let shared, shared.version != prepared.shared.version { throw StaleCatalog(tenants: [], shared: true) }
            shared = prepared.shared
            for group in prepared.groups {
                for event in group.events.prefix(limit - matched.count) {
                    matched.append(Matched(key: records[event.index].key, tenant: group.tenant, event: event))
                }
            }
            lookedAt += records.count
            let isWhole = records.count < wanted
            guard !isWhole || end == nil else { break }
            (last, end) = isWhole ? (nil, start) : (records.last?.key, end)
        } while matched.count < limit && lookedAt < Self.mostLookedAt
        self.subject = subject
        self.matched = matched
        self.shared = shared ?? .empty
        limits = ingest.preparation.limits
        now = ingest.clock.now()
    }

    var eventCount: Int { matched.count }

    /// The first and the second half of the events, each as a replay of its own.
    var halves: [UnmatchedReplay] { matched.halves.map(taking) }

    /// A replay of none of the events, which tells how many wait.
    var ofNothing: UnmatchedReplay { taking([]) }

    private func taking(_ events: [Matched]) -> UnmatchedReplay {
        var replay = self
        replay.matched = events
        return replay
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
        let preparation = ingest.preparation.reading(on: .interactive).waitingForLedgers
        var prepared = try await preparation.prepare(incoming, boundTo: nil)
        prepared.unmatched = []
        prepared.faults = []
        return prepared
    }

    /// Counts them, claiming the tenants' own keys: an event that the gateway has sent again in the meantime is not
    /// counted twice.
    /// - Throws: as `IngestFlush.run`; nothing is counted then.
    func run(in transaction: borrowing Transaction) throws -> ReplayReport {
        let notices = try IngestFlush(merging: [prepared], limits: limits, at: now).run(in: transaction)
        try transaction.execute(
            UnmatchedEventStore.markReplayed(matched.map(\.key), tenants: matched.map(\.tenant.id), at: now)
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

    /// A tenant that two pages know at different versions is there twice, so that each is compared with that in force.
    private var prepared: IngestPreparation.Prepared {
        let groups = Dictionary(grouping: matched) { [$0.tenant.id.rawValue, $0.tenant.catalogVersion] }
        return IngestPreparation.Prepared(
            shared: shared,
            groups: groups.values.map { TenantGroup(tenant: $0[0].tenant, events: $0.map(\.event)) },
            unmatched: []
        )
    }
}
