package import Postgres
package import Web

extension Mitigation {
    /// What a scope names that there isn't, which would refuse nothing.
    package static func unknowns(of scope: BudgetScope, in transaction: borrowing Transaction) throws -> [FieldFault] {
        var faults: [FieldFault] = []
        if let key = scope.exact(.tenant), try TenantStore.find(key: key, in: transaction) == nil {
            faults.append(.unknown(.tenant, key))
        }
        if let key = scope.exact(.feature), try PlanVersionService.metered([key], in: transaction)[key] == nil {
            faults.append(.unknown(.feature, key))
        }
        if let key = scope.exact(.plan), try PlanStore.find(key: key, in: transaction) == nil {
            faults.append(.unknown(.plan, key))
        }
        return faults
    }
}
