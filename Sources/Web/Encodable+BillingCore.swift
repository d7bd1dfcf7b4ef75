package import BillingCore

// How the values of the arithmetic are written in a response: always as strings (see docs/rules.md).

extension FixedDecimal: Encodable {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Instant: Encodable {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// As `{"start": ..., "end": ...}`.
extension Interval: Encodable {
    private enum CodingKeys: CodingKey {
        case start
        case end
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(start, forKey: .start)
        try container.encode(end, forKey: .end)
    }
}

extension UUIDv7: Encodable {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension UUIDIdentifier where Self: Encodable {
    package func encode(to encoder: any Encoder) throws {
        try rawValue.encode(to: encoder)
    }
}

extension PriceID: Encodable {}
extension FXRateID: Encodable {}
extension SubscriptionID: Encodable {}
extension InvoiceID: Encodable {}
extension CreditGrantID: Encodable {}
extension DiscountID: Encodable {}
extension CreditNoteID: Encodable {}
extension AlertID: Encodable {}
extension MitigationID: Encodable {}
extension WebhookDeliveryID: Encodable {}
extension ReservationID: Encodable {}
