/// A database identity that the service hands out as a number. Each kind is a type of its own, so they cannot be mixed
/// up.
@usableFromInline
package protocol IntegerIdentifier: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible
where RawValue == Int64 {
    init(rawValue: Int64)
}

extension IntegerIdentifier {
    @inlinable
    package init(_ rawValue: Int64) {
        self.init(rawValue: rawValue)
    }

    @inlinable
    package static func < (left: Self, right: Self) -> Bool {
        left.rawValue < right.rawValue
    }

    @usableFromInline package var description: String { String(rawValue) }
}

/// A tenant. Number 0 is reserved for what belongs to the operator.
@usableFromInline
package struct TenantID: IntegerIdentifier {
    @usableFromInline package let rawValue: Int64

    @inlinable
    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }

    /// Owns operator-wide rows: limits over all tenants, unmatched events.
    package static let operatorWide = TenantID(rawValue: 0)
}

/// A sellable measure over a meter.
@usableFromInline
package struct FeatureID: IntegerIdentifier {
    @usableFromInline package let rawValue: Int64

    @inlinable
    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }
}

/// A rule that turns events into quantities.
@usableFromInline
package struct MeterID: IntegerIdentifier {
    @usableFromInline package let rawValue: Int64

    @inlinable
    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }
}

/// What is sold: a named series of versions.
@usableFromInline
package struct PlanID: IntegerIdentifier {
    @usableFromInline package let rawValue: Int64

    @inlinable
    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }
}

/// A version of a plan, immutable once published.
@usableFromInline
package struct PlanVersionID: IntegerIdentifier {
    @usableFromInline package let rawValue: Int64

    @inlinable
    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }
}

/// A period of a subscription.
@usableFromInline
package struct BillingPeriodID: IntegerIdentifier {
    @usableFromInline package let rawValue: Int64

    @inlinable
    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }
}

/// A quota, cap or budget.
@usableFromInline
package struct LimitID: IntegerIdentifier {
    @usableFromInline package let rawValue: Int64

    @inlinable
    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }
}

/// An interned set of price book entries that costs were computed with.
@usableFromInline
package struct PriceSetID: IntegerIdentifier {
    @usableFromInline package let rawValue: Int64

    @inlinable
    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }
}
