import BillingCore
import Catalog
import Postgres

/// Alerts of which somebody may give rise to any number.
extension AlertStore {
    /// Of which alerts the raised ones count for a bound.
    private struct Group: Hashable {
        let kind: AlertKind
        let tenant: TenantID
    }

    /// The drafts, those with a bound unless they were raised before, and with one for all that go beyond it.
    /// Transactions at the same time don't see each other's, so that a few more may be raised.
    static func bounded(
        _ drafts: [AlertDraft],
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [AlertDraft] {
        var raised: [Group: Set<String>] = [:]
        var bounded: [AlertDraft] = []
        for draft in drafts {
            guard let bound = draft.bound else {
                bounded.append(draft)
                continue
            }
            let group = Group(kind: draft.kind, tenant: draft.tenant)
            if raised[group] == nil { raised[group] = try keys(of: group, within: bound, in: transaction) }
            guard var keys = raised[group], !keys.contains(draft.key) else { continue }
            let next = keys.count < bound.count ? draft : draft.standingForMore(than: bound)
            if keys.insert(next.key).inserted { bounded.append(next) }
            raised[group] = keys
        }
        return bounded
    }

    /// What was raised, and one that says that there are more, if there are.
    private static func keys(
        of group: Group,
        within bound: AlertDraft.Bound,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> Set<String> {
        let first = AlertID(rawValue: UUIDv7(milliseconds: bound.start.microseconds / 1_000, random: (0, 0)))
        let keys = try transaction.query(
            """
            SELECT alert_key FROM alert
            WHERE kind = \(group.kind) AND alert_id >= \(first) AND removed_at IS NULL AND tenant_id = \(group.tenant)
            ORDER BY alert_id
            LIMIT \(bound.count + 1)
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
        return Set(keys)
    }
}
