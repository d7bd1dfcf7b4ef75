package import BillingCore
import Web

/// What a tenant has in place of its plan's quota on a feature and window, or beside its plan's quotas, until it is
/// removed.
package struct QuotaOverride: Sendable {
    package let featureID: FeatureID
    package let featureKey: String
    package let window: WindowKind
    package let limit: FixedDecimal
    /// Nil is what the plan's quota says, or hard.
    package let mode: LimitMode?
    /// Nil is what the plan's quota says, or what goes with the mode.
    package let overage: Overage?
    /// False once it was removed; the row stays, so that its revision never repeats.
    package var isActive: Bool
    package let createdAt: Instant
    package var updatedAt: Instant
    package var revision: Int64
}

extension QuotaOverride {
    /// Whether it is what a request asks for already.
    func says(_ input: QuotaOverrideInput) -> Bool {
        isActive && limit == input.limit && mode == input.mode && overage == input.overage
    }
}

extension [QuotaOverride] {
    /// The quotas with these in their place.
    func replacing(_ quotas: [Quota]) -> [Quota] {
        var result = quotas
        for override in self {
            let index = result.firstIndex { $0.featureID == override.featureID && $0.window == override.window }
            let base = index.map { result[$0] }
            // Whoever denies the overage means a hard one.
            let mode = override.mode ?? (override.overage == .denied ? .hard : base?.mode) ?? .hard
            let quota = Quota(
                featureID: override.featureID,
                featureKey: override.featureKey,
                limit: override.limit,
                window: override.window,
                mode: mode,
                overage: override.overage ?? (mode == base?.mode ? base?.overage : nil) ?? Overage(of: mode)
            )
            if let index { result[index] = quota } else { result.append(quota) }
        }
        return result
    }
}

/// The body of an override.
struct QuotaOverrideInput: Sendable {
    let limit: FixedDecimal
    let mode: LimitMode?
    let overage: Overage?

    static func read(_ fields: JSONObjectReader) throws -> QuotaOverrideInput {
        let input = QuotaOverrideInput(
            limit: fields.decimal("limit", minimum: .zero),
            mode: fields.contains("mode") ? fields.choice("mode") : nil,
            overage: fields.contains("overage") ? fields.choice("overage") : nil
        )
        Overage.rejectContradiction(input.overage, input.mode, fields)
        try fields.finish()
        return input
    }
}

/// What the API shows of an override.
package struct QuotaOverrideBody: Encodable, Sendable {
    let feature: String
    let window: String
    let limit: FixedDecimal
    let mode: String?
    let overage: String?
    let createdAt: Instant
    let updatedAt: Instant

    package init(_ override: QuotaOverride) {
        feature = override.featureKey
        window = override.window.rawValue
        limit = override.limit
        mode = override.mode?.rawValue
        overage = override.overage?.rawValue
        createdAt = override.createdAt
        updatedAt = override.updatedAt
    }
}
