import BillingCore
import Testing

/// A price of `docs/rules-examples.json`.
struct ExamplePrice: Decodable {
    struct Tier: Decodable {
        let upTo: String?
        let unitAmount: String?
        let flatAmount: String?
    }

    struct Cell: Decodable {
        let values: [String]
        let price: ExamplePrice
    }

    let model: String
    let amount, unitAmount, packageSize, freeUnits, percent, fixedAmount, minimum, maximum, markupPercent: String?
    let tiers: [Tier]?
    let dimensions: [String]?
    let cells: [Cell]?
    private let `default`: [ExamplePrice]?

    private enum CodingKeys: CodingKey {
        case model, amount, unitAmount, packageSize, freeUnits, percent, fixedAmount, minimum, maximum, markupPercent
        case tiers, dimensions, cells, `default`
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        func text(_ key: CodingKeys) throws -> String? { try container.decodeIfPresent(String.self, forKey: key) }
        model = try container.decode(String.self, forKey: .model)
        amount = try text(.amount)
        unitAmount = try text(.unitAmount)
        packageSize = try text(.packageSize)
        freeUnits = try text(.freeUnits)
        percent = try text(.percent)
        fixedAmount = try text(.fixedAmount)
        minimum = try text(.minimum)
        maximum = try text(.maximum)
        markupPercent = try text(.markupPercent)
        tiers = try container.decodeIfPresent([Tier].self, forKey: .tiers)
        dimensions = try container.decodeIfPresent([String].self, forKey: .dimensions)
        cells = try container.decodeIfPresent([Cell].self, forKey: .cells)
        // An array, because a value cannot hold another of its own type.
        self.default = try container.decodeIfPresent(ExamplePrice.self, forKey: .default).map { [$0] }
    }

    func price() throws -> Price {
        switch model {
        case "flat": .flat(amount: try decimal(amount))
        case "per_unit": .perUnit(unitAmount: try decimal(unitAmount))
        case "graduated": .graduated(try priceTiers())
        case "volume": .volume(try priceTiers())
        case "stairstep": .stairstep(try priceTiers())
        case "package":
            .packages(
                PackagePrice(
                    amount: try decimal(amount),
                    packageSize: try decimal(packageSize),
                    freeUnits: try decimal(freeUnits ?? "0")
                )
            )
        case "percentage":
            .percentage(
                PercentagePrice(
                    percent: try #require(Percent(decimal(percent))),
                    fixedAmount: try decimal(fixedAmount ?? "0"),
                    minimum: try minimum.map(decimal),
                    maximum: try maximum.map(decimal)
                )
            )
        case "cost_plus": .costPlus(markup: try #require(Percent(decimal(markupPercent))))
        case "matrix": .matrix(try matrix())
        default: throw DecimalError.malformed
        }
    }

    func matrix() throws -> MatrixPrice {
        MatrixPrice(
            dimensions: try #require(dimensions),
            cells: try #require(cells).map { MatrixPrice.Cell(values: $0.values, price: try $0.price.price()) },
            defaultPrice: try self.default?.first?.price()
        )
    }

    private func priceTiers() throws -> [PriceTier] {
        let tiers = try #require(tiers).map { tier in
            PriceTier(
                upTo: try tier.upTo.map(decimal),
                unitAmount: try decimal(tier.unitAmount ?? "0"),
                flatAmount: try decimal(tier.flatAmount ?? "0")
            )
        }
        #expect(PriceTier.faults(in: tiers).isEmpty)
        return tiers
    }

    private func decimal(_ text: String?) throws -> FixedDecimal { try FixedDecimal(parsing: #require(text)) }
}
