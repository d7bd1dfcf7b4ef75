package import BillingCore
import Postgres

extension Aggregation: PostgresConvertible {}
extension BillingPeriodStatus: PostgresConvertible {}
extension LimitMode: PostgresConvertible {}
extension Overage: PostgresConvertible {}
extension PlanVersionStatus: PostgresConvertible {}
extension TenantStatus: PostgresConvertible {}
extension WindowKind: PostgresConvertible {}

extension Currency: PostgresConvertible {
    package init?(postgres: String) {
        self.init(postgres)
    }

    package var postgres: String { code }
}

extension CostComponent: PostgresConvertible {
    package init?(postgres: String) {
        self.init(name: postgres)
    }

    package var postgres: String { name }
}

extension ModelPattern: PostgresConvertible {
    package init?(postgres: String) {
        self.init(postgres)
    }

    package var postgres: String { text }
}

extension Zone: PostgresConvertible {
    package init?(postgres: String) {
        self.init(identifier: postgres)
    }

    package var postgres: String { identifier }
}
