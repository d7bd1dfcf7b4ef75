/// An identity that the service hands out as a UUIDv7. Each kind is a type of its own, so they cannot be mixed up.
@usableFromInline
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

    @usableFromInline package var description: String { rawValue.description }
}

/// An entry of the price book.
@usableFromInline
package struct PriceID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A rate between two currencies.
@usableFromInline
package struct FXRateID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// An alert.
@usableFromInline
package struct AlertID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// What has admission refuse calls for a time.
@usableFromInline
package struct MitigationID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A reservation: what an admission answers, and the usage event that settles it repeats.
@usableFromInline
package struct ReservationID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// One event on its way to one webhook endpoint.
@usableFromInline
package struct WebhookDeliveryID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}
