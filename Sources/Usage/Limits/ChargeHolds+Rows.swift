package import BillingCore
import Catalog
package import Limits

/// The rows of `limit_state` beside a limit's own that hold quantities.
extension ChargeHolds {
    private static let mark = "#"

    /// The row that holds money for what calls have no known price of.
    package static func moneyRow(beside row: LimitRow) -> LimitRow { row.without(scopeValue: "\(mark)money") }

    /// The rows that hold a use's part of each counter, with the amounts.
    package static func rows(
        beside row: LimitRow,
        holding totals: [CounterKey: UsageTotal]
    ) -> [(row: LimitRow, amount: FixedDecimal)] {
        totals.flatMap { counter, total in
            Part.allCases.compactMap { part in
                let amount = total[part]
                return amount > .zero ? (self.row(beside: row, counter, part), amount) : nil
            }
        }
    }

    /// Every row that may hold a part of these counters.
    package static func allRows(beside row: LimitRow, of counters: some Sequence<CounterKey>) -> [LimitRow] {
        counters.flatMap { counter in Part.allCases.map { self.row(beside: row, counter, $0) } }
    }

    /// What of each counter is held beside a limit's own row.
    package static func totals(
        of holds: [ReservationHold],
        beside row: LimitRow
    ) throws(DecimalError) -> [CounterKey: UsageTotal] {
        var totals: [CounterKey: UsageTotal] = [:]
        for hold in holds where mainRow(beside: hold.row) == row {
            guard let (counter, part) = counter(of: hold.row) else { continue }
            totals[counter] = try totals[counter, default: .zero].adding(UsageTotal(part, hold.amount))
        }
        return totals
    }

    private static func row(beside row: LimitRow, _ counter: CounterKey, _ part: Part) -> LimitRow {
        LimitRow(
            tenant: row.tenant,
            limit: row.limit,
            scopeValue: "\(mark)\(counter.period)/\(counter.feature)/\(part.rawValue)/\(counter.cell)",
            windowStart: row.windowStart
        )
    }

    /// The limit's own row beside which this one holds a quantity; nil for any other row.
    package static func mainRow(beside row: LimitRow) -> LimitRow? {
        isMarked(row) ? row.without(scopeValue: "") : nil
    }

    /// By bytes, as the database sees it: a sign may go on behind the mark.
    private static func isMarked(_ row: LimitRow) -> Bool { row.scopeValue.utf8.starts(with: mark.utf8) }

    static func counter(of row: LimitRow) -> (CounterKey, Part)? {
        guard isMarked(row) else { return nil }
        let fields = row.scopeValue.dropFirst().split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        guard fields.count == 4, let period = Int64(fields[0]), let feature = Int64(fields[1]),
            let part = Part(rawValue: String(fields[2]))
        else { return nil }
        let counter = CounterKey(
            tenant: row.tenant,
            period: BillingPeriodID(rawValue: period),
            feature: FeatureID(rawValue: feature),
            cell: String(fields[3])
        )
        return (counter, part)
    }
}
