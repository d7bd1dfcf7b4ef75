/// An identity that the service hands out as a UUIDv7. Each kind is a type of its own, so they cannot be mixed up.
package protocol UUIDIdentifier: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible
where RawValue == UUIDv7 {
    init(rawValue: UUIDv7)
}

extension UUIDIdentifier {
    /// Nil unless the text is a UUIDv7.
    package init?(_ text: String) {
        guard let rawValue = UUIDv7(text) else { return nil }
        self.init(rawValue: rawValue)
    }

    @inlinable
    package static func < (left: Self, right: Self) -> Bool {
        left.rawValue < right.rawValue
    }

    package var description: String { rawValue.description }
}

/// An entry of the price book.
package struct PriceID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A rate between two currencies.
package struct FXRateID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// An alert.
package struct AlertID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A reservation: what an admission answers, and the usage event that settles it repeats.
package struct ReservationID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// One event on its way to one webhook endpoint.
package struct WebhookDeliveryID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}
