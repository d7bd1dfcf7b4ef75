package import Postgres

extension PlanVersionRecord {
    /// A version of a plan, drafts included; nil where there is none.
    package static func find(
        plan: String,
        version: Int,
        in transaction: borrowing Transaction
    ) throws -> PlanVersionRecord? {
        try PlanVersionStore.find(plan: plan, version: version, in: transaction)
    }
}
