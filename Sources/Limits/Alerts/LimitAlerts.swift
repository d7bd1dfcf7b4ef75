package import BillingCore
package import Catalog
package import Postgres
import Web

/// A row of a limit after a transaction that counted in it.
package struct CountedLimit: Sendable {
    let limit: Limit
    let state: LimitState
    /// Who used it; of a limit over all tenants the one that did now.
    let tenantKey: String?
    /// By how much the transaction changed what is used in a window that is over; nil in others, and where it counted
    /// all of it.
    let addedAfterwards: FixedDecimal?

    package init(limit: Limit, state: LimitState, tenantKey: String?, addedAfterwards: FixedDecimal? = nil) {
        self.limit = limit
        self.state = state
        self.tenantKey = tenantKey
        self.addedAfterwards = addedAfterwards
    }
}

/// Alerts of limits. Each is raised once for a limit, window, threshold and revision, in the transaction that crossed
/// it: the row is locked there, and notes what has fired. Use that falls again does not re-arm it.
package enum LimitAlerts {
    /// Notes in the locked rows what fires now, and answers the alerts to raise.
    /// - Parameter revisedAt: when the limits were changed: a forecast that did not hold then may fire again.
    package static func due(
        _ counted: [CountedLimit],
        catalog: CatalogSnapshot,
        at now: Instant,
        revisedAt: Instant? = nil,
        in transaction: borrowing Transaction
    ) -> [AlertDraft] {
        var marks: [(row: LimitRow, fired: [FixedDecimal])] = []
        let drafts = counted.flatMap { counted -> [AlertDraft] in
            let before = counted.state.firedThresholds
            let fired = revisedAt.map { counted.stillFired(at: $0) } ?? before
            let due = counted.dueMarks(beside: fired, at: now)
            guard !due.isEmpty || fired != before else { return [] }
            marks.append((counted.state.row, counted.kept(fired + due)))
            return due.map { counted.draft(of: $0, at: now, catalog) }
        }
        if !marks.isEmpty { transaction.enqueue(LimitStateStore.fire(marks)) }
        return drafts
    }

    /// Says that a limit refused a call: once for a window and revision.
    package static func limitReached(
        _ limit: Limit,
        _ state: LimitState,
        by tenant: TenantSnapshot,
        catalog: CatalogSnapshot
    ) -> AlertDraft {
        CountedLimit(limit: limit, state: state, tenantKey: tenant.key).draft(.limitReached, threshold: nil, catalog)
    }
}

extension CountedLimit {
    /// Stands for the forecast among the percentages that have fired; no threshold is zero.
    private static let forecast = FixedDecimal.zero
    /// Many times as many as a limit can name.
    private static let mostMarks = 100

    /// What the row notes of what has fired. Other thresholds can be named again and again: of very many marks the
    /// lowest are forgotten that the limit does not name any more, and fire again should it ever.
    fileprivate func kept(_ fired: [FixedDecimal]) -> [FixedDecimal] {
        guard fired.count > Self.mostMarks else { return fired }
        let named = Set(limit.thresholds.map(\.value) + [Self.forecast])
        let others = fired.filter { !named.contains($0) }.sorted()
        let forgotten = Set(others.prefix(fired.count - Self.mostMarks))
        return fired.filter { !forgotten.contains($0) }
    }

    /// What has to fire now, by ascending percentage. A window that may have been removed is not told of again.
    fileprivate func dueMarks(beside fired: [FixedDecimal], at now: Instant) -> [FixedDecimal] {
        guard limit.isActive, case .window = limit.bound,
            !LimitRetention.mayBeGone(windowUntil: state.windowEnd, at: now)
        else {
            return []
        }
        var due = limit.thresholds.filter { state.balance.reaches($0) && !isMetBefore($0) }.map(\.value)
        if limit.alertsOnForecast, isProjectedToReach(at: now) { due.insert(Self.forecast, at: 0) }
        return due.filter { !fired.contains($0) }
    }

    /// Whether it was met in a window that is over before anything was added: by the amount that is in force by now,
    /// and not by what happens.
    private func isMetBefore(_ threshold: Percent) -> Bool {
        guard let added = addedAfterwards else { return false }
        var before = state.balance
        before.used = (try? before.used.subtracting(added)) ?? before.used
        return before.reaches(threshold)
    }

    /// What has fired, without a forecast that does not hold any more.
    fileprivate func stillFired(at now: Instant) -> [FixedDecimal] {
        let fired = state.firedThresholds
        guard fired.contains(Self.forecast), !isProjectedToReach(at: now) else { return fired }
        return fired.filter { $0 != Self.forecast }
    }

    private func isProjectedToReach(at now: Instant) -> Bool { windowUse.isProjectedToReach(at: now) }

    private var windowUse: WindowUse {
        let window = Interval(start: state.row.windowStart, end: state.windowEnd)
        return WindowUse(state.balance, in: window, countedFrom: limit.countedFrom ?? .minimum)
    }

    fileprivate func draft(of mark: FixedDecimal, at now: Instant, _ catalog: CatalogSnapshot) -> AlertDraft {
        mark == Self.forecast
            ? draft(.forecast, threshold: nil, projected: windowUse.projected(at: now), catalog)
            : draft(.thresholdCrossed, threshold: mark, catalog)
    }

    /// - Parameter projected: what the window comes to at its end; nil where that is not asked or out of range.
    fileprivate func draft(
        _ kind: AlertKind,
        threshold: FixedDecimal?,
        projected: FixedDecimal? = nil,
        _ catalog: CatalogSnapshot
    ) -> AlertDraft {
        let row = state.row
        let amount = { (amount: FixedDecimal) in
            JSONValue.string(amount.text(minimumFractionalDigits: limit.currency?.minorUnits ?? 0))
        }
        var members = [
            JSONMember(name: "limit", value: .string(limit.name(in: catalog))),
            JSONMember(name: "origin", value: .string(limit.originName)),
            JSONMember(name: "managed_by", value: .string(limit.managedBy.rawValue)),
            JSONMember(name: "measure", value: .string(limit.measure.rawValue)),
            JSONMember(name: "mode", value: .string(limit.mode.rawValue)),
            JSONMember(name: "amount", value: amount(state.balance.amount)),
            JSONMember(name: "used", value: amount(state.balance.used)),
            JSONMember(name: "held", value: amount(state.balance.held)),
        ]
        if let projected { members.append(JSONMember(name: "projected", value: amount(projected))) }
        if let currency = limit.currency { members.append(JSONMember(name: "currency", value: .string(currency.code))) }
        var draft = AlertDraft(
            kind,
            of: row.tenant,
            key: limit.isOperatorWide ? nil : tenantKey,
            identity: [
                "\(row.limit)", row.scopeValue, "\(row.windowStart.microseconds)", threshold?.description ?? "",
                "\(state.revision)",
            ],
            detail: .object(members)
        )
        draft.limit = row.limit
        draft.scopeValue = row.scopeValue.isEmpty ? nil : row.scopeValue
        draft.window = Interval(start: row.windowStart, end: state.windowEnd)
        draft.threshold = threshold
        draft.isOperatorOnly = limit.measure == .cost
        return draft
    }
}

extension Limit {
    /// As people know it: a budget by its key, a quota by that of its feature.
    package func name(in catalog: CatalogSnapshot) -> String {
        switch origin {
        case .budget(let key): key
        case .quota(let feature): catalog.features[feature]?.key ?? ""
        case .spendCap: "spend_cap"
        }
    }

    package var originName: String {
        switch origin {
        case .budget: "budget"
        case .quota: "quota"
        case .spendCap: "spend_cap"
        }
    }
}
