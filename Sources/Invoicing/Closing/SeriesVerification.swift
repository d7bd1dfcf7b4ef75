import BillingCore
import Postgres
import Usage
import Web

/// Compares each gapless series with what it numbers: every number up to the last is there, once, and the next one
/// follows.
///
/// A number is taken, and what it numbers written, in one transaction that locks the series until its end: whoever sees
/// a number sees all before it. So each statement judges by itself, and can run beside live traffic.
struct SeriesVerification: Sendable {
    private static let page = 500

    let pool: PostgresPool

    /// - Parameter difference: called for each one found.
    func run(difference: (UsageDifference) -> Void) async throws {
        for series in InvoiceSeriesStore.Series.allCases {
            let rows = try await pool.query(.worker, InvoiceSeriesStore.ends(of: series), InvoiceSeriesStore.decodeEnds)
            guard let ends = rows.first else { continue }
            if let found = ends.difference(of: series) { difference(found) }
            var after: Int64 = 0
            while true {
                let faults = try await pool.query(
                    .worker,
                    InvoiceSeriesStore.faults(of: series, after: after, limit: Self.page),
                    InvoiceSeriesStore.decodeFault
                )
                for fault in faults { fault.differences(of: series, prefix: ends.prefix).forEach(difference) }
                guard faults.count == Self.page, let last = faults.last else { break }
                after = last.sequence
            }
        }
    }
}

extension InvoiceSeriesStore {
    /// Where a series stands, and where what it numbers has come to.
    fileprivate struct Ends: Sendable {
        /// Empty where the series has no row.
        let prefix: String
        let next: Int64?
        let expected: Int64

        func difference(of series: Series) -> UsageDifference? {
            guard next != expected else { return nil }
            return UsageDifference(
                tenant: TenantID.operatorWide.description,
                subject: "the next number of \(series.numbered)s",
                stored: next.map { InvoiceSeriesStore.number($0, prefix: prefix) } ?? "missing",
                rebuilt: InvoiceSeriesStore.number(expected, prefix: prefix),
                source: "\(series.numbered)s"
            )
        }
    }

    /// A number before which others are missing, or that is used more than once.
    fileprivate struct Fault: Sendable {
        let previous: Int64
        let sequence: Int64
        let uses: Int64

        func differences(of series: Series, prefix: String) -> [UsageDifference] {
            func found(_ subject: String, _ stored: String, _ rebuilt: String) -> UsageDifference {
                UsageDifference(
                    tenant: TenantID.operatorWide.description,
                    subject: subject,
                    stored: stored,
                    rebuilt: rebuilt,
                    source: "series"
                )
            }
            var differences: [UsageDifference] = []
            if sequence > previous + 1 {
                let first = InvoiceSeriesStore.number(previous + 1, prefix: prefix)
                let last = InvoiceSeriesStore.number(sequence - 1, prefix: prefix)
                let one = "\(series.numbered) \(first)"
                let missing = first == last ? one : "each of the \(series.numbered)s \(first) to \(last)"
                differences.append(found(missing, "missing", "one"))
            }
            if uses > 1 {
                let number = InvoiceSeriesStore.number(sequence, prefix: prefix)
                differences.append(found("how many have the place of \(series.numbered) \(number)", "\(uses)", "1"))
            }
            return differences
        }
    }

    /// One row, of one moment.
    fileprivate static func ends(of series: Series) -> SQL {
        """
        SELECT coalesce(series.prefix, ''), series.next_sequence, numbered.next_sequence
        FROM (SELECT coalesce(max(sequence), 0) + 1 AS next_sequence FROM \(series.table)) AS numbered
        LEFT JOIN invoice_series AS series
            ON series.tenant_id = \(TenantID.operatorWide) AND series.series = \(series.rawValue)
        """
    }

    @Sendable
    fileprivate static func decodeEnds(_ row: inout PostgresRow) throws(PostgresError) -> Ends {
        Ends(prefix: try row.next(), next: try row.next(), expected: try row.next())
    }

    /// By ascending number.
    fileprivate static func faults(of series: Series, after: Int64, limit: Int) -> SQL {
        """
        SELECT previous, sequence, uses
        FROM (
            SELECT sequence, count(*) AS uses, lag(sequence, 1, \(after)::bigint) OVER (ORDER BY sequence) AS previous
            FROM \(series.table)
            WHERE sequence > \(after)
            GROUP BY sequence
        ) AS numbered
        WHERE sequence > previous + 1 OR uses > 1
        ORDER BY sequence
        LIMIT \(limit)
        """
    }

    @Sendable
    fileprivate static func decodeFault(_ row: inout PostgresRow) throws(PostgresError) -> Fault {
        Fault(previous: try row.next(), sequence: try row.next(), uses: try row.next())
    }
}

extension InvoiceSeriesStore.Series {
    /// Of what has its numbers.
    fileprivate var table: SQL {
        switch self {
        case .invoice: "invoice_document"
        case .creditNote: "credit_note"
        }
    }

    fileprivate var numbered: String {
        switch self {
        case .invoice: "invoice"
        case .creditNote: "credit note"
        }
    }
}
