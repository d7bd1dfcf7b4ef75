package import BillingCore
import Web

extension Price {
    /// The name of the model in the API.
    package var model: String {
        let model: PriceModel =
            switch self {
            case .flat: .flat
            case .perUnit: .perUnit
            case .graduated: .graduated
            case .volume: .volume
            case .stairstep: .stairstep
            case .packages: .package
            case .percentage: .percentage
            case .costPlus: .costPlus
            case .matrix: .matrix
            }
        return model.rawValue
    }

    /// The price as it is shown and stored: the members that `read` reads.
    var json: JSONValue {
        .object([JSONMember(name: "model", value: .string(model))] + members)
    }

    private var members: [JSONMember] {
        switch self {
        case .flat(let amount):
            [JSONMember("amount", amount)]
        case .perUnit(let unitAmount):
            [JSONMember("unit_amount", unitAmount)]
        case .graduated(let tiers), .volume(let tiers):
            [JSONMember(name: "tiers", value: .array(tiers.map(Self.json)))]
        case .stairstep(let tiers):
            [JSONMember(name: "tiers", value: .array(tiers.map(Self.stepJSON)))]
        case .packages(let price):
            [
                JSONMember("amount", price.amount),
                JSONMember("free_units", price.freeUnits),
                JSONMember("package_size", price.packageSize),
            ]
        case .percentage(let price):
            [
                JSONMember("fixed_amount", price.fixedAmount),
                JSONMember("maximum", price.maximum),
                JSONMember("minimum", price.minimum),
                JSONMember("percent", price.percent.value),
            ]
        case .costPlus(let markup):
            [JSONMember("markup_percent", markup.value)]
        case .matrix(let matrix):
            matrix.members
        }
    }

    private static func json(_ tier: PriceTier) -> JSONValue {
        .object([
            JSONMember("flat_amount", tier.flatAmount),
            JSONMember("unit_amount", tier.unitAmount),
            JSONMember("up_to", tier.upTo),
        ])
    }

    private static func stepJSON(_ tier: PriceTier) -> JSONValue {
        .object([JSONMember("flat_amount", tier.flatAmount), JSONMember("up_to", tier.upTo)])
    }
}

extension MatrixPrice {
    fileprivate var members: [JSONMember] {
        let shownCells = cells.map { cell in
            let match = zip(dimensions, cell.values).map { JSONMember(name: $0, value: .string($1)) }
            return JSONValue.object([
                JSONMember(name: "match", value: .object(match)),
                JSONMember(name: "price", value: cell.price.json),
            ])
        }
        return [
            JSONMember(name: "cells", value: .array(shownCells)),
            JSONMember(name: "default", value: defaultPrice?.json ?? .null),
            JSONMember(name: "dimensions", value: .array(dimensions.map { .string($0) })),
        ]
    }
}

extension JSONMember {
    /// A decimal string, or null.
    fileprivate init(_ name: String, _ amount: FixedDecimal?) {
        self.init(name: name, value: amount.map { .string($0.description) } ?? .null)
    }
}
