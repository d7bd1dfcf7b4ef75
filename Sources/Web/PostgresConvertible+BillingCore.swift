package import BillingCore
public import Postgres

extension FixedDecimal: PostgresConvertible {
    package var postgres: PostgresNumeric { PostgresNumeric(unscaled: unscaled) }

    package init?(postgres: PostgresNumeric) {
        guard let value = try? FixedDecimal(validating: postgres.unscaled) else { return nil }
        self = value
    }
}

extension Instant: PostgresConvertible {
    package var postgres: PostgresTimestamp { PostgresTimestamp(microseconds: microseconds) }

    package init?(postgres: PostgresTimestamp) {
        self.init(microseconds: postgres.microseconds)
    }
}

extension UUIDv7: PostgresConvertible {
    package var postgres: PostgresUUID { PostgresUUID(high: high, low: low) }

    package init?(postgres: PostgresUUID) {
        self.init(high: postgres.high, low: postgres.low)
    }
}

extension SubscriptionID: PostgresConvertible {}
extension InvoiceID: PostgresConvertible {}
extension CreditGrantID: PostgresConvertible {}
extension DiscountID: PostgresConvertible {}
extension CreditNoteID: PostgresConvertible {}
extension AlertID: PostgresConvertible {}
extension MitigationID: PostgresConvertible {}
extension WebhookDeliveryID: PostgresConvertible {}

extension IntegerIdentifier where Self: PostgresConvertible {
    package var postgres: Int64 { rawValue }

    package init?(postgres: Int64) {
        self.init(rawValue: postgres)
    }
}

extension UUIDIdentifier where Self: PostgresConvertible {
    package var postgres: UUIDv7 { rawValue }

    package init?(postgres: UUIDv7) {
        self.init(rawValue: postgres)
    }
}

extension PriceID: PostgresConvertible {}
extension FXRateID: PostgresConvertible {}
extension PriceSetID: PostgresConvertible {}
extension TenantID: PostgresConvertible {}
extension FeatureID: PostgresConvertible {}
extension MeterID: PostgresConvertible {}
extension PlanID: PostgresConvertible {}
extension PlanVersionID: PostgresConvertible {}
extension BillingPeriodID: PostgresConvertible {}
extension LimitID: PostgresConvertible {}
extension ReservationID: PostgresConvertible {}
