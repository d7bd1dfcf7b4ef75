package import Postgres
package import Web

extension Mitigation {
    /// Reads the members of a scope that says whose calls are refused.
    package static func scope(_ fields: JSONObjectReader) -> BudgetScope {
        let scope = BudgetScope.read(fields)
        for dimension in ScopeDimension.allCases where scope[dimension] == .each {
            let name = dimension.rawValue
            let detail = "\"\(name)\" must be one value: leave it out to refuse calls whatever it is"
            fields.fault(at: name, code: "not_applicable", detail: detail)
        }
        return scope
    }

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

extension FieldFault {
    fileprivate static func unknown(_ dimension: ScopeDimension, _ key: String) -> FieldFault {
        let name = dimension.rawValue
        return FieldFault(pointer: "/scope/\(name)", code: "unknown_\(name)", detail: "there is no \(name) \"\(key)\"")
    }
}
