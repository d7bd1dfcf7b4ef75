package import BillingCore
package import Postgres
import Synchronization

/// The months of the raw log that have a partition. A flush needs its events' partitions to exist; what is known
/// here costs it nothing.
package final class PartitionRegistry: Sendable {
    private let known = Mutex<Set<CivilMonth>>([])

    package init() {}

    /// The months that the times fall in and whose partitions are not known to exist.
    func missing(of times: [Instant]) -> [CivilMonth] {
        var missing: Set<CivilMonth> = []
        known.withLock { known in
            var last: CivilMonth?
            for time in times {
                let month = CivilMonth(of: time)
                if month == last { continue }
                last = month
                if !known.contains(month) { missing.insert(month) }
            }
        }
        return missing.sorted()
    }

    /// Has what is known asked for again: the database may not be the one that it was.
    func forgetAll() { known.withLock { $0 = [] } }

    /// Makes the partitions of the months that the times fall in, where they are not known to exist.
    package func ensure(months times: [Instant], pool: PostgresPool) async throws {
        for month in missing(of: times) {
            _ = try await pool.query(
                .worker,
                "SELECT ensure_usage_event_partition((\(month.start) AT TIME ZONE 'UTC')::date)"
            ) { row throws(PostgresError) in try row.next(Bool.self) }
            known.withLock { _ = $0.insert(month) }
        }
    }
}

/// A calendar month in UTC.
package struct CivilMonth: Sendable, Hashable, Comparable {
    private let year: Int64
    private let month: Int64

    package init(of time: Instant) {
        let date = CivilDate(at: time)
        year = date.year
        month = date.month
    }

    private init(year: Int64, month: Int64) {
        self.year = year
        self.month = month
    }

    package var next: CivilMonth {
        month == 12 ? CivilMonth(year: year + 1, month: 1) : CivilMonth(year: year, month: month + 1)
    }

    package var start: Instant {
        Instant(microseconds: CivilDate(year: year, month: month, day: 1).daysSince1970 * 86_400_000_000)
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.year, left.month) < (right.year, right.month)
    }
}
