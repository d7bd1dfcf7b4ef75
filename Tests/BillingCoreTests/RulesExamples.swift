import Foundation

/// The worked examples of `docs/rules.md`, in the form of `docs/rules-examples.json`.
struct RulesExamples: Decodable {
    struct Number: Decodable {
        let name, text: String
        let value, error: String?
    }

    struct Rounding: Decodable {
        let name, quantity, unitAmount, currency, exact, amount: String
    }

    struct Instants: Decodable {
        let name, text: String
        let instant, error: String?
    }

    struct Window: Decodable {
        let name, zone, kind, instant, start, end: String
    }

    /// Percent and projection are `none` where nothing follows.
    struct LimitUse: Decodable {
        let name, amount, used, held, countedFrom, at, remaining, percent, projected: String
        let window: [String]
    }

    struct Period: Decodable {
        let name, anchor, zone: String
        let months: Int
        let starts: [String]
    }

    /// The percentage and cost-plus examples, whose charge depends on more than the quantity.
    struct Percentage: Decodable {
        let name, price, quantity: String
        let events: Int64
        let charge: String
        let parts: [String]
    }

    struct CostPlus: Decodable {
        let name, price, cost, charge: String
    }

    struct Matrix: Decodable {
        let name, price: String
        /// The values of the dimensions and the quantity, such as `gpt-4o output 1000`.
        let usage: [String]
        let cells: [String]
        let charge: String
    }

    struct Charge: Decodable {
        let name, price, quantity, charge: String
        let tiers: [String]
    }

    struct Marginal: Decodable {
        let name, price: String
        let totals, marginals: [String]
    }

    struct Prorated: Decodable {
        let name, fee, currency: String
        let period, active: [String]
        let exact, amount: String
    }

    struct PlanChange: Decodable {
        let name, aggregation: String
        let prices, quantities, charges: [String]
    }

    struct Trial: Decodable {
        let name, start, zone, anchor: String
        let days: Int
    }

    struct CreditNotes: Decodable {
        let name, total, tax, currency: String
        let parts, taxes: [String]
    }

    struct CallCost: Decodable {
        let name, model: String
        let input, cachedInput, output, reasoning: Int64
        let cost: String
    }

    struct Tokens: Decodable {
        let name: String
        let input, cachedInput, cacheWrite, output, reasoning: Int64
        let classes: [Int64]?
        let fault: String?
    }

    let numbers: [Number]
    let rounding: [Rounding]
    let instants: [Instants]
    let windows: [Window]
    let limitUses: [LimitUse]
    let periods: [Period]
    let priceLists: [String: ExamplePrice]
    let charges: [Charge]
    let percentages: [Percentage]
    let costPlus: [CostPlus]
    let matrices: [Matrix]
    let marginals: [Marginal]
    let proration: [Prorated]
    let planChanges: [PlanChange]
    let trials: [Trial]
    let creditNotes: [CreditNotes]
    let tokenClasses: [Tokens]
    /// Unit amounts by model, and by class with `>` and a threshold.
    let priceBook: [String: [String: String]]
    let providerCosts: [CallCost]

    static func load() throws -> RulesExamples {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(RulesExamples.self, from: Data(contentsOf: documents("rules-examples.json")))
    }

    static func document() throws -> String {
        try String(contentsOf: documents("rules.md"), encoding: .utf8)
    }

    /// All examples as plain values, to look their parts up in the document.
    static func plain() throws -> [[String: Any]] {
        let data = try Data(contentsOf: documents("rules-examples.json"))
        let sections = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
        return sections.values.flatMap { $0 as? [[String: Any]] ?? [] }
    }

    private static func documents(_ name: String) -> URL {
        URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/\(name)").standardized
    }
}
