import BillingCore
import Catalog
import Postgres
import Web

/// The events of the raw log that a feature has counted, each with what it was measured as: what stands behind a line
/// of an invoice. Reversals and what they take back are left out.
struct FeatureEventLog: Sendable {
    /// How many rows one query reads, and how many one request looks through at most: a page may then be shorter than
    /// asked for, and its cursor goes on.
    private static let batchRows = 1_000
    private static let rowsPerRequest = 20_000

    let feature: Feature
    /// Only the part that falls in this cell; all of it when nil.
    let cell: EventCell?
    let catalog: CatalogSnapshot
    let pool: PostgresPool

    /// One event with its measurement.
    struct Entry: Sendable {
        let stored: StoredEvent
        let quantity: FixedDecimal
    }

    func page(_ filter: EventLogFilter, _ page: PageRequest) async throws -> Page<Entry> {
        var filter = filter
        filter.isCounted = true
        if filter.type == nil { filter.type = catalog.meters[feature.meterID]?.definition.eventType }
        var position = try EventPosition.before(page)
        var found: [Entry] = []
        var rows = 0
        var isAtEnd = false
        while found.count <= page.limit, !isAtEnd, rows < Self.rowsPerRequest {
            let batch = try await pool.query(
                .interactive,
                as: filter.scope,
                EventLogStore.newest(filter, before: position, limit: Self.batchRows),
                EventLogStore.decode
            )
            found += batch.compactMap(entry)
            rows += batch.count
            isAtEnd = batch.count < Self.batchRows
            position = batch.last?.position ?? position
        }
        if found.count > page.limit {
            found.removeSubrange(page.limit...)
            position = found.last?.stored.position
            isAtEnd = false
        }
        return page.page(found, continuingAt: isAtEnd ? nil : position?.cursor)
    }

    /// Nil for what the feature did not count.
    private func entry(_ stored: StoredEvent) -> Entry? {
        let metered = catalog.features(of: stored.event.type, at: stored.catalogVersion)
            .filter { $0.feature.id == feature.id }
        guard let measured = Metering.measureStored(stored.event, features: metered).first,
            let source = metered.first
        else { return nil }
        guard let cell else { return Entry(stored: stored, quantity: measured.value.shown) }
        return cell.part(of: measured, stored.event, source).map { Entry(stored: stored, quantity: $0.shown) }
    }
}

extension MeasuredValue {
    /// What one event adds, or the value that it reports; 1 for a value that is counted once however often it comes.
    fileprivate var shown: FixedDecimal {
        switch self {
        case .sum(let amount), .maximum(let amount), .latest(let amount): amount
        case .count, .unique: .one
        }
    }
}

extension EventPosition {
    /// As a cursor keeps it.
    var cursor: [String] { [String(time.microseconds), String(ledgerSequence)] }

    /// Where a page begins; nil for the first one.
    static func before(_ page: PageRequest) throws(Problem) -> EventPosition? {
        guard let cursor = page.after else { return nil }
        return try EventPosition(cursor: cursor)
    }

    init(cursor: [String]) throws(Problem) {
        guard cursor.count == 2, let time = Int64(cursor[0]), let sequence = Int64(cursor[1]) else {
            throw PageRequest.invalidCursor
        }
        self.init(time: Instant(microseconds: time), ledgerSequence: sequence)
    }
}
