import BillingCore
import Testing
import Web

@testable import Catalog

/// What keeps a price from charging a feature: its meter's aggregation, dimensions and classes.
@Suite struct PriceOverFeatureTests {
    private static let unit = Price.perUnit(unitAmount: .one)
    private static let classes = MeterValue.classes(
        [
            ValueClass(name: "input", property: "input_tokens"), ValueClass(name: "output", property: "output_tokens"),
        ],
        dimension: "token_class"
    )

    private func feature(
        _ aggregation: Aggregation = .sum,
        _ value: MeterValue = classes,
        filters: [ValueFilter] = [],
        meterFilters: [ValueFilter] = []
    ) -> MeteredFeature {
        let time = Instant(microseconds: 0)
        let meter = Meter(
            id: MeterID(1),
            key: "m",
            name: "m",
            definition: MeterDefinition(
                eventType: "llm",
                aggregation: aggregation,
                value: value,
                filters: meterFilters,
                dimensions: [
                    MeterDimension(name: "model", property: "model"),
                    MeterDimension(name: "place", property: "region"),
                ]
            ),
            createdVersion: 1,
            createdAt: time,
            updatedAt: time
        )
        let feature = Feature(
            id: FeatureID(1),
            key: "f",
            name: "f",
            meterID: meter.id,
            meterKey: "m",
            filters: filters,
            createdVersion: 1,
            createdAt: time,
            updatedAt: time
        )
        return MeteredFeature(feature: feature, meter: meter)
    }

    @Test("publishing warns where a default price counts values on their own to which there is no end")
    func unboundedDimensions() {
        func warned(_ price: Price, filters: [ValueFilter] = []) -> [[String]] {
            let metered = feature(filters: filters)
            let charge = Charge(featureID: metered.feature.id, featureKey: "f", price: price)
            return UnboundedMatrix.find(in: [charge], features: [metered.feature.id: metered]).map(\.dimensions)
        }
        let price = matrix(["model", "place", "token_class"], default: Self.unit)
        #expect(warned(price) == [["place"]])
        #expect(warned(price, filters: [ValueFilter(name: "place", condition: .among(["eu", "us"]))]) == [])
        #expect(warned(matrix(["model", "token_class"], default: Self.unit)) == [])
        #expect(warned(Self.unit) == [])
    }

    private func matrix(
        _ dimensions: [String],
        _ listed: [[String]] = [],
        default defaultPrice: Price? = nil
    ) -> Price {
        .matrix(
            MatrixPrice(
                dimensions: dimensions,
                cells: listed.map { MatrixPrice.Cell(values: $0, price: Self.unit) },
                defaultPrice: defaultPrice
            )
        )
    }

    private func faults(_ price: Price, _ feature: MeteredFeature) -> [String] {
        price.faults(over: feature, at: "/p").map { "\($0.pointer) \($0.code)" }
    }

    @Test func aMatrixNeedsDimensionsAndClassesThatTheMeterHas() {
        #expect(
            faults(matrix(["model", "size"], default: Self.unit), feature()) == ["/p/dimensions unknown_dimension"]
        )
        let listed = matrix(["token_class"], [["output"], ["reasoning"]], default: Self.unit)
        #expect(faults(listed, feature()) == ["/p/cells/1/match/token_class unknown_class"])
        #expect(faults(matrix(["model", "place", "token_class"], default: Self.unit), feature()).isEmpty)
    }

    @Test(arguments: [Aggregation.max, .latest, .uniqueCount])
    func aMatrixNeedsASumOrACount(aggregation: Aggregation) {
        let measured = feature(aggregation, .property("x"))
        #expect(faults(matrix(["model"], default: Self.unit), measured) == ["/p/model not_applicable"])
        #expect(faults(matrix(["model"], default: Self.unit), feature(.count, .eventCount)).isEmpty)
    }

    @Test func withoutADefaultEveryCombinationMustBeListed() {
        let open = ["/p/default required"]
        #expect(faults(matrix(["model"], [["gpt-4o"]]), feature()) == open)
        #expect(faults(matrix(["token_class"], [["input"]]), feature()) == open)
        #expect(faults(matrix(["token_class"], [["input"], ["output"]]), feature()).isEmpty)

        let oneClass = [ValueFilter(name: "token_class", condition: .among(["input"]))]
        #expect(faults(matrix(["token_class"], [["input"]]), feature(filters: oneClass)).isEmpty)
        let models = [ValueFilter(name: "model", condition: .among(["a", "b"]))]
        let all = [["a", "input"], ["a", "output"], ["b", "input"], ["b", "output"]]
        #expect(faults(matrix(["model", "token_class"], all), feature(filters: models)).isEmpty)
        #expect(faults(matrix(["model", "token_class"], all.dropLast()), feature(filters: models)) == open)
        // A filter that only keeps values out does not end the others.
        let notAmong = [ValueFilter(name: "model", condition: .notAmong(["c"]))]
        #expect(faults(matrix(["model"], [["a"]]), feature(filters: notAmong)) == open)
    }

    @Test func aFilterOfTheMeterEndsADimensionToo() {
        let region = [ValueFilter(name: "region", condition: .among(["eu", "us"]))]
        let price = matrix(["place"], [["eu"], ["us"]])
        #expect(faults(price, feature(meterFilters: region)).isEmpty)
        #expect(faults(price, feature()) == ["/p/default required"])
        let narrowed = feature(
            filters: [ValueFilter(name: "place", condition: .notAmong(["us"]))],
            meterFilters: region
        )
        #expect(faults(matrix(["place"], [["eu"]]), narrowed).isEmpty)
    }

    @Test func thePointNamesTheFirstCombinationWithoutAPrice() {
        let found = matrix(["token_class"], [["input"]]).faults(over: feature(), at: "/p")
        #expect(found.first?.detail.contains(#"{"token_class":"output"} has no price"#) == true)
    }

    @Test func aPercentageIsOfASum() {
        let share = Price.percentage(PercentagePrice(percent: .zero, fixedAmount: .one, minimum: nil, maximum: nil))
        #expect(faults(share, feature()).isEmpty)
        #expect(faults(share, feature(.count, .eventCount)) == ["/p/model not_applicable"])
        #expect(
            faults(matrix(["model"], default: share), feature(.count, .eventCount)) == [
                "/p/default/model not_applicable"
            ]
        )
    }

    @Test func theProviderCostOfAnEventIsSplitOverClassesOfTokensOnly() {
        let cost = Price.costPlus(markup: .zero)
        #expect(faults(cost, feature()).isEmpty)
        let output = [ValueFilter(name: "token_class", condition: .among(["output"]))]
        #expect(faults(cost, feature(filters: output)).isEmpty)
        #expect(faults(matrix(["model"], default: cost), feature()).isEmpty)
        #expect(faults(matrix(["token_class"], default: cost), feature()).isEmpty)
        let seconds = MeterValue.classes(
            [
                ValueClass(name: "input", property: "input_seconds"),
                ValueClass(name: "output", property: "output_tokens"),
            ],
            dimension: "token_class"
        )
        #expect(faults(cost, feature(.sum, seconds)).isEmpty)
        #expect(faults(cost, feature(.sum, seconds, filters: output)) == ["/p/model not_applicable"])
        #expect(
            faults(matrix(["token_class"], default: cost), feature(.sum, seconds)) == [
                "/p/default/model not_applicable"
            ]
        )
    }
}
