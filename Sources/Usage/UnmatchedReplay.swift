import Web
import BillingCore
import Catalog
package import Postgres

/// What a replay of unmatched events did.
package struct ReplayReport: Encodable, Sendable {
    /// Counted for a tenant now.
    package var replayed = 0
    /// The tenant had counted the same event before.
    package var duplicates = 0
    /// The tenant had counted an event of the same source and id with other content.
    package var conflicts = 0
    /// Still without a tenant, or still faulty.
    package var unmatched = 0
}

extension IngestService {
    /// How many events one transaction of a replay takes.
    private static let replayPage = 1_000

    /// Counts unmatched events whose subject names a tenant by now. Each page is one transaction, which claims the
    /// tenants' own keys: an event that the gateway has sent again in the meantime is not counted twice.
    /// - Parameter audit: records what a page did, in its transaction.
    package func replay(
        subject: String?,
        limit: Int,
        audit: @escaping @Sendable (borrowing Transaction, ReplayReport) throws -> Void
    ) async throws -> ReplayReport {
        var total = ReplayReport()
        var after: EventKey?
        var seen = 0
        repeat {
            let page = try await preparation.pool.query(
                .interactive,
                UnmatchedEventStore.waiting(
                    subject: subject,
                    after: after,
                    limit: min(Self.replayPage, limit - seen)
                ),
                UnmatchedEventStore.decode
            )
            after = page.last?.key
            seen += page.count
            total.add(try await replay(page, audit: audit))
            if page.count < Self.replayPage { break }
        } while seen < limit
        return total
    }

    private func replay(
        _ page: [UnmatchedRecord],
        audit: @escaping @Sendable (borrowing Transaction, ReplayReport) throws -> Void
    ) async throws -> ReplayReport {
        var incoming: [IngestPreparation.Incoming] = []
        for (index, record) in page.enumerated() {
            let batch = EventDecoder(maximumEvents: 1).decode(Array(record.event.utf8), as: .structured)
            guard let event = batch.events.first else { continue }
            incoming.append(.init(event: event, time: record.time, receivedAt: record.receivedAt, index: index))
        }
        for _ in 0..<limits.preparationAttempts {
            var prepared = try await preparation.prepare(incoming, boundTo: nil)
            prepared.unmatched = []
            let waiting = page.count - prepared.eventCount
            guard prepared.eventCount > 0 else { return ReplayReport(unmatched: waiting) }
            let flush = try IngestFlush(merging: [prepared])
            let matched = prepared.groups.flatMap { group in
                group.events.map { (page[$0.index].key, group.tenant.id) }
            }
            let now = clock.now()
            do {
                return try await preparation.pool.transaction(.interactive) { transaction in
                    let notices = try flush.run(in: transaction)
                    transaction.enqueue(
                        UnmatchedEventStore.markReplayed(matched.map(\.0), tenants: matched.map(\.1), at: now)
                    )
                    var report = ReplayReport(unmatched: waiting)
                    report.duplicates = notices.count { $0.status == .duplicate }
                    report.conflicts = notices.count { $0.status == .conflict }
                    report.replayed = matched.count - report.duplicates - report.conflicts
                    try audit(transaction, report)
                    return report
                }
            } catch let stale as StaleCatalog {
                try await refresh(stale)
            }
        }
        throw IngestRefusal.catalogBusy
    }
}

extension ReplayReport {
    fileprivate init(unmatched: Int) {
        self.unmatched = unmatched
    }

    fileprivate mutating func add(_ other: ReplayReport) {
        replayed += other.replayed
        duplicates += other.duplicates
        conflicts += other.conflicts
        unmatched += other.unmatched
    }
}
