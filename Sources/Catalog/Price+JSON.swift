import BillingCore
import Web

/// The models of a price, by their names in the API.
package enum PriceModel: String, Sendable, Hashable, CaseIterable {
    case flat
    case perUnit = "per_unit"
    case graduated, volume, stairstep, package, percentage
    case costPlus = "cost_plus"
    case matrix
}

extension Price {
    /// Reads the `price` of a charge. Nil only where a fault was recorded.
    static func read(_ fields: JSONObjectReader) -> Price? {
        guard let model = fields.choice("model", of: PriceModel.self) else {
            fields.ignore(allMembers)
            return nil
        }
        let faultCount = fields.faults.count
        let price = read(model, fields)
        return fields.faults.count == faultCount ? price : nil
    }

    /// Every member that some model has: where the model is not known, they say nothing more.
    private static let allMembers = [
        "amount", "unit_amount", "tiers", "package_size", "free_units", "percent", "fixed_amount", "minimum",
        "maximum", "markup_percent", "dimensions", "cells", "default",
    ]

    private static func read(_ model: PriceModel, _ fields: JSONObjectReader) -> Price? {
        switch model {
        case .flat: .flat(amount: fields.decimal("amount", minimum: .zero))
        case .perUnit: .perUnit(unitAmount: fields.decimal("unit_amount", minimum: .zero))
        case .graduated: readTiers(fields, PriceTier.read).map(Price.graduated)
        case .volume: readTiers(fields, PriceTier.read).map(Price.volume)
        case .stairstep: readTiers(fields, PriceTier.readStep).map(Price.stairstep)
        case .package: PackagePrice.read(fields).map(Price.packages)
        case .percentage: PercentagePrice.read(fields).map(Price.percentage)
        case .costPlus: Percent.read(fields, "markup_percent", maximum: 10_000).map(Price.costPlus)
        case .matrix: MatrixPrice.read(fields).map(Price.matrix)
        }
    }

    private static func readTiers(
        _ fields: JSONObjectReader,
        _ read: (JSONObjectReader) -> PriceTier
    ) -> [PriceTier]? {
        let faultCount = fields.faults.count
        let tiers = fields.objects("tiers", minimumCount: 1, maximumCount: 100, read)
        guard fields.faults.count == faultCount else { return nil }
        let faults = PriceTier.faults(in: tiers)
        for fault in faults {
            let path = ["tiers", fault.index.map(String.init), fault.field?.rawValue].compactMap { $0 }
            fields.fault(
                at: path.joined(separator: "/"),
                code: fault.reason.code,
                detail: fault.reason.detail(of: fault.field?.rawValue ?? "tiers")
            )
        }
        return faults.isEmpty ? tiers : nil
    }
}

extension PriceTier {
    fileprivate static func read(_ fields: JSONObjectReader) -> PriceTier {
        PriceTier(
            upTo: fields.optionalDecimal("up_to"),
            unitAmount: fields.decimal("unit_amount", default: .zero),
            flatAmount: fields.decimal("flat_amount", default: .zero)
        )
    }

    /// A step of a stairstep price, which has no unit amount.
    fileprivate static func readStep(_ fields: JSONObjectReader) -> PriceTier {
        PriceTier(
            upTo: fields.optionalDecimal("up_to"),
            unitAmount: .zero,
            flatAmount: fields.decimal("flat_amount")
        )
    }
}

extension PackagePrice {
    fileprivate static func read(_ fields: JSONObjectReader) -> PackagePrice? {
        let amount = fields.decimal("amount", minimum: .zero)
        let size = fields.decimal("package_size", minimum: .zero)
        let freeUnits = fields.decimal("free_units", minimum: .zero, default: .zero)
        guard size > .zero else {
            if fields.contains("package_size") {
                fields.fault(at: "package_size", code: "out_of_range", detail: "\"package_size\" must be above zero")
            }
            return nil
        }
        return PackagePrice(amount: amount, packageSize: size, freeUnits: freeUnits)
    }
}

extension PercentagePrice {
    fileprivate static func read(_ fields: JSONObjectReader) -> PercentagePrice? {
        let percent = Percent.read(fields, "percent", maximum: 100)
        let fixedAmount = fields.decimal("fixed_amount", minimum: .zero, default: .zero)
        let minimum = fields.optionalDecimal("minimum", minimum: .zero)
        let maximum = fields.optionalDecimal("maximum", minimum: .zero)
        if let minimum, let maximum, maximum < minimum {
            fields.fault(at: "maximum", code: "out_of_range", detail: "\"maximum\" must not be below \"minimum\"")
        }
        return percent.map {
            PercentagePrice(percent: $0, fixedAmount: fixedAmount, minimum: minimum, maximum: maximum)
        }
    }
}

extension Percent {
    /// A required percentage from 0 to a maximum.
    fileprivate static func read(_ fields: JSONObjectReader, _ name: String, maximum: Int64) -> Percent? {
        let value = fields.decimal(name, minimum: .zero, maximum: FixedDecimal(maximum))
        guard let percent = Percent(value) else {
            let detail = "\"\(name)\" must have at most 10 digits after the decimal point"
            fields.fault(at: name, code: "out_of_range", detail: detail)
            return nil
        }
        return percent
    }
}

extension PriceTierFault.Reason {
    fileprivate var code: String {
        switch self {
        case .empty: "too_few"
        case .notAscending: "not_ascending"
        case .lastNotOpen: "last_not_open"
        case .openBeforeLast: "open_before_last"
        case .negative: "out_of_range"
        }
    }

    fileprivate func detail(of field: String) -> String {
        switch self {
        case .empty: "\"\(field)\" must have at least 1 element"
        case .notAscending: "\"\(field)\" must exceed that of the tier before, and the first one zero"
        case .lastNotOpen: "\"\(field)\" of the last tier must be null: it has no upper bound"
        case .openBeforeLast: "\"\(field)\" is required: only the last tier has no upper bound"
        case .negative: "\"\(field)\" must not be below zero"
        }
    }
}

extension JSONObjectReader {
    /// Marks members as known, so that they are not reported beside a fault that makes them meaningless.
    fileprivate func ignore(_ names: [String]) {
        for name in names {
            _ = json(name)
        }
    }
}
