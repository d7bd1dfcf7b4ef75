import BillingCore
import Catalog
import Limits
import Postgres
import Synchronization

/// Which limits are known to have been told of as reached, so that a caller that asks on and on costs no write each
/// time. Only that: the alert itself is unique in the database.
final class ReachedLimits: Sendable {
    private struct Mark: Hashable {
        let row: LimitRow
        let revision: Int64
    }

    private static let capacity = 10_000
    private let told = Mutex<Set<Mark>>([])

    /// The alerts that refused calls give rise to. Rates are refused all the time, and raise none, nor does a call that
    /// is larger than the limit itself: that says nothing of how much is left. What is told is remembered with the
    /// commit: a transaction that is rolled back or tried again tells it again.
    func drafts(
        of outcomes: [AdmissionOutcome],
        _ requests: [AdmissionRequest],
        catalog: CatalogSnapshot,
        in transaction: borrowing Transaction
    ) -> [AlertDraft] {
        var drafts: [AlertDraft] = []
        var marks: Set<Mark> = []
        for (outcome, request) in zip(outcomes, requests) where !request.call.isDryRun {
            guard case .refused(let violations) = outcome else { continue }
            for violation in violations where violation.tellsOfReach {
                let mark = Mark(row: violation.state.row, revision: violation.state.revision)
                guard !told.withLock({ $0.contains(mark) }), marks.insert(mark).inserted else { continue }
                drafts.append(
                    LimitAlerts.limitReached(
                        violation.limit,
                        violation.state,
                        by: request.tenant,
                        catalog: catalog
                    )
                )
            }
        }
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
    fileprivate var tellsOfReach: Bool { reason != .rateLimited && reason != .unpricedModel && !isTooLarge }
}
