import BillingCore
import Web

extension Price {
    private static let models = "\"per_unit\" and \"graduated\""

    /// Reads the `price` of a charge. Nil only where a fault was recorded.
    static func read(_ fields: JSONObjectReader) -> Price? {
        let model = fields.string("model", maximumLength: 50)
        switch model {
        case "per_unit":
            return .perUnit(unitAmount: fields.decimal("unit_amount", minimum: .zero))
        case "graduated":
            return readTiers(fields)
        case "":
            return nil
        default:
            let later = [
                "flat", "volume", "stairstep", "package", "percentage", "cost_plus", "matrix",
            ]
            let isLater = later.contains(model)
            fields.fault(
                at: "model",
                code: isLater ? "not_supported" : "invalid_value",
                detail: "\"model\" \"\(model)\" is not \(isLater ? "supported yet" : "known"); \(models) are supported"
            )
            fields.ignore(laterMembers)
            return nil
        }
    }

    /// Members of the models of a later release: where the model is refused, they say nothing more.
    private static let laterMembers = [
        "unit_amount", "tiers", "amount", "package_size", "free_units", "percent", "fixed_amount", "minimum",
        "maximum", "markup_percent", "dimensions", "cells", "default",
    ]

    private static func readTiers(_ fields: JSONObjectReader) -> Price? {
        let faultCount = fields.faults.count
        let tiers = fields.objects("tiers", minimumCount: 1, maximumCount: 100) { tier in
            PriceTier(
                upTo: tier.optionalDecimal("up_to"),
                unitAmount: tier.decimal("unit_amount", default: .zero),
                flatAmount: tier.decimal("flat_amount", default: .zero)
            )
        }
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
        return faults.isEmpty ? .graduated(tiers) : nil
    }

    /// The name of the model in the API.
    package var model: String {
        switch self {
        case .perUnit: "per_unit"
        case .graduated: "graduated"
        }
    }

    /// The price as it is shown and stored.
    var json: JSONValue {
        switch self {
        case .perUnit(let unitAmount):
            .members(["model": .string(model), "unit_amount": .string(unitAmount.description)])
        case .graduated(let tiers):
            .members(["model": .string(model), "tiers": .array(tiers.map(Self.json))])
        }
    }

    private static func json(_ tier: PriceTier) -> JSONValue {
        .members([
            "flat_amount": .string(tier.flatAmount.description),
            "unit_amount": .string(tier.unitAmount.description),
            "up_to": tier.upTo.map { .string($0.description) } ?? .null,
        ])
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
    func ignore(_ names: [String]) {
        for name in names {
            _ = json(name)
        }
    }
}
