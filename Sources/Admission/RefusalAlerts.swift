import BillingCore
import Catalog
import Limits
import Postgres
import Synchronization
import Usage

/// What is known to have been told of refused calls, so that a caller that asks on and on costs no write each time.
/// Only that: the alert itself is unique in the database.
final class RefusalAlerts: Sendable {
    private enum Mark: Hashable {
        case reached(LimitRow, revision: Int64)
        case unpriced(UnpricedUse.Identity, day: Int64)
    }

    private static let capacity = 10_000
    private static let dayMicroseconds: Int64 = 86_400 * 1_000_000
    private let told = Mutex<Set<Mark>>([])

    func forgetAll() { told.withLock { $0 = [] } }

    /// The alerts that refused calls give rise to. Rates are refused all the time, and raise none, nor does a call that
    /// is larger than the limit itself, or has no room in a window that is still to begin: that says nothing of how
    /// much is left. What is told is remembered with the commit: a transaction that is rolled back or tried again tells
    /// it again.
    func drafts(
        of outcomes: [AdmissionOutcome],
        _ requests: [AdmissionRequest],
        at now: Instant,
        catalog: CatalogSnapshot,
        in transaction: borrowing Transaction
    ) -> [AlertDraft] {
        var drafts: [AlertDraft] = []
        var unpriced: UsageAlerts?
        let day = now.microseconds / Self.dayMicroseconds
        var marks: Set<Mark> = []
        func isNew(_ mark: Mark) -> Bool { !told.withLock { $0.contains(mark) } && marks.insert(mark).inserted }
        for (outcome, request) in zip(outcomes, requests) where !request.call.isDryRun {
            guard case .refused(let violations) = outcome else { continue }
            for violation in violations where violation.tellsOfReach(at: now) {
                guard isNew(.reached(violation.state.row, revision: violation.state.revision)) else { continue }
                drafts.append(
                    LimitAlerts.limitReached(
                        violation.limit,
                        violation.state,
                        by: request.tenant,
                        catalog: catalog
                    )
                )
            }
            for case let use? in violations.lazy.map(\.unpriced) {
                guard isNew(.unpriced(use.identity(of: request.tenant.id), day: day)) else { continue }
                var alerts = unpriced ?? UsageAlerts(at: now)
                alerts.add(use, of: request.prepared)
                unpriced = alerts
            }
        }
        drafts += unpriced?.drafts ?? []
        if !marks.isEmpty {
            transaction.afterCommit { [marks] in self.remember(marks) }
        }
        return drafts
    }

    private func remember(_ marks: Set<Mark>) {
        told.withLock { told in
            if told.count >= Self.capacity { told.removeAll() }
            told.formUnion(marks)
        }
    }
}

extension LimitViolation {
    fileprivate func tellsOfReach(at now: Instant) -> Bool {
        reason != .rateLimited && reason != .unpricedModel && !isTooLarge && state.row.windowStart <= now
    }
}
