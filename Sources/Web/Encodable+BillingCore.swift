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

extension SubscriptionID: Encodable {
    package func encode(to encoder: any Encoder) throws {
        try rawValue.encode(to: encoder)
    }
}

extension InvoiceID: Encodable {}
extension CreditGrantID: Encodable {}
extension DiscountID: Encodable {}
extension CreditNoteID: Encodable {}
