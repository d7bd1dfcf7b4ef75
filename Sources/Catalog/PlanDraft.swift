import BillingCore
import Web

/// The body of a plan version as it was written: sound in itself, its features not yet looked up.
struct PlanDraft: Sendable {
    struct Charge: Sendable {
        let feature: String
        let price: Price
    }

    struct Quota: Sendable {
        let feature: String
        let limit: FixedDecimal
        let window: WindowKind
        let mode: LimitMode
        let overage: Overage
    }

    let fees: [Fee]
    let charges: [Charge]
    let quotas: [Quota]
    let terms: PlanTerms

    var featureKeys: [String] {
        Set(charges.map(\.feature) + quotas.map(\.feature)).sorted()
    }

    /// Throws every fault of the body.
    /// - Parameter isStored: of an earlier release, maybe, which took what is a fault by now.
    static func read(_ fields: JSONObjectReader, isStored: Bool) throws -> PlanDraft {
        let interval = fields.string("interval", default: "month")
        if interval != "month" {
            let detail = "\"interval\" \"\(interval)\" is not supported yet; \"month\" is supported"
            fields.fault(at: "interval", code: "not_supported", detail: detail)
        }
        let fees = fields.objects("fees", maximumCount: 100, readFee)
        let charges = fields.objects("charges", maximumCount: 500, readCharge)
        let quotas = fields.objects("quotas", maximumCount: 500) { readQuota($0, isStored: isStored) }
        let terms = PlanTerms.read(fields)
        rejectDuplicates(fees: fees, charges: charges, quotas: quotas, fields)
        try fields.finish()
        return PlanDraft(
            fees: fees.compactMap { $0 },
            charges: charges.compactMap { $0 },
            quotas: quotas.compactMap { $0 },
            terms: terms
        )
    }

    static func readFee(_ fields: JSONObjectReader) -> Fee? {
        let key = fields.key("key")
        return Fee(
            key: key,
            name: fields.string("name", default: key, minimumLength: 1),
            amount: fields.decimal("amount", minimum: .zero),
            charged: fields.choice("charged", default: Fee.Timing.inAdvance)
        )
    }

    static func readCharge(_ fields: JSONObjectReader) -> Charge? {
        let feature = fields.key("feature")
        let price = fields.object("price", Price.read)
        return price.flatMap { $0 }.map { Charge(feature: feature, price: $0) }
    }

    static func readQuota(_ fields: JSONObjectReader, isStored: Bool) -> Quota? {
        let feature = fields.key("feature")
        let limit = fields.decimal("limit", minimum: .zero)
        let window = fields.choice("window", of: WindowKind.self)
        let mode = fields.choice("mode", default: LimitMode.hard)
        let overage = fields.choice("overage", default: Overage(of: mode))
        if !isStored { Overage.rejectContradiction(overage, mode, fields) }
        return window.map { Quota(feature: feature, limit: limit, window: $0, mode: mode, overage: overage) }
    }

    static func rejectDuplicates(
        fees: [Fee?],
        charges: [Charge?],
        quotas: [Quota?],
        _ fields: JSONObjectReader
    ) {
        for index in repeated(fees.map { $0?.key }) {
            fields.fault(at: "fees/\(index)/key", code: "duplicate", detail: "another fee has this key")
        }
        for index in repeated(charges.map { $0?.feature }) {
            let detail = "another charge prices this feature"
            fields.fault(at: "charges/\(index)/feature", code: "duplicate", detail: detail)
        }
        for index in repeated(quotas.map { quota in quota.map { "\($0.feature) \($0.window.rawValue)" } }) {
            let detail = "another quota limits this feature in this window"
            fields.fault(at: "quotas/\(index)/window", code: "duplicate", detail: detail)
        }
    }

    /// Positions of elements that occurred before.
    private static func repeated(_ names: [String?]) -> [Int] {
        var seen: Set<String> = []
        return names.enumerated().compactMap { index, name in
            guard let name else { return nil }
            return seen.insert(name).inserted ? nil : index
        }
    }
}
