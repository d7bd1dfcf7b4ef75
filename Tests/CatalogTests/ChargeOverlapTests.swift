import BillingCore
import Testing

@testable import Catalog

@Suite struct ChargeOverlapTests {
    private static let epoch = Instant(microseconds: 0)

    private static func meter(
        _ id: Int64,
        type: String = "llm.completion",
        filters: [ValueFilter] = [],
        value: MeterValue = .eventCount
    ) -> Meter {
        Meter(
            id: MeterID(id),
            key: "m\(id)",
            name: "m\(id)",
            definition: MeterDefinition(
                eventType: type,
                aggregation: value == .eventCount ? .count : .sum,
                value: value,
                filters: filters,
                dimensions: [MeterDimension(name: "model", property: "model")]
            ),
            createdVersion: 1,
            createdAt: epoch,
            updatedAt: epoch
        )
    }

    private static func overlaps(_ pairs: [(Meter, [ValueFilter])]) -> [ChargeOverlap] {
        var features: [FeatureID: MeteredFeature] = [:]
        var charges: [Charge] = []
        for (index, (meter, filters)) in pairs.enumerated() {
            let id = FeatureID(Int64(index + 1))
            let feature = Feature(
                id: id,
                key: "f\(index)",
                name: "f\(index)",
                meterID: meter.id,
                meterKey: meter.key,
                filters: filters,
                createdVersion: 1,
                createdAt: epoch,
                updatedAt: epoch
            )
            features[id] = MeteredFeature(feature: feature, meter: meter)
            charges.append(Charge(featureID: id, featureKey: feature.key, price: .perUnit(unitAmount: .one)))
        }
        return ChargeOverlap.find(in: charges, features: features)
    }

    private static func model(_ condition: ValueFilter.Condition) -> [ValueFilter] {
        [ValueFilter(name: "model", condition: condition)]
    }

    @Test func warnsWhereTwoMetersReadOneEventType() {
        let found = Self.overlaps([(Self.meter(1), []), (Self.meter(2), [])])
        #expect(found == [ChargeOverlap(index: 1, feature: "f1", other: "f0", eventType: "llm.completion")])
    }

    @Test func ofVeryManyTheFirstHundredAreTold() {
        func overlaps(of count: Int) -> [ChargeOverlap] {
            Self.overlaps((1...count).map { _ in (Self.meter(1), []) })
        }
        // 14 charges are 91 pairs, 20 are 190.
        #expect(overlaps(of: 14).count == 91)
        let many = overlaps(of: 20)
        #expect(many.count == 100 && Array(many.prefix(91)) == overlaps(of: 14))
        #expect(many.last == ChargeOverlap(index: 14, feature: "f14", other: "f8", eventType: "llm.completion"))
    }

    @Test func otherEventTypesDoNotOverlap() {
        #expect(Self.overlaps([(Self.meter(1), []), (Self.meter(2, type: "job.done"), [])]).isEmpty)
    }

    @Test func exclusiveFiltersDoNotOverlap() {
        let meter = Self.meter(1)
        #expect(Self.overlaps([(meter, Self.model(.among(["a"]))), (meter, Self.model(.among(["b"])))]).isEmpty)
        #expect(
            Self.overlaps([(meter, Self.model(.among(["a"]))), (meter, Self.model(.notAmong(["a", "b"])))]).isEmpty
        )
        #expect(Self.overlaps([(meter, Self.model(.exists(false))), (meter, Self.model(.among(["a"])))]).isEmpty)
        #expect(
            Self.overlaps([(meter, Self.model(.among(["a"]))), (meter, Self.model(.among(["a", "b"])))]).count == 1
        )
    }

    @Test func aFilterOfTheMeterExcludesToo() {
        let filtered = Self.meter(2, filters: [ValueFilter(name: "model", condition: .among(["b"]))])
        #expect(Self.overlaps([(Self.meter(1), Self.model(.among(["a"]))), (filtered, [])]).isEmpty)
    }

    @Test func classesExcludeEachOtherWithinOneMeterOnly() {
        let classes = MeterValue.classes(
            [ValueClass(name: "in", property: "input_tokens"), ValueClass(name: "out", property: "output_tokens")],
            dimension: "token_class"
        )
        let input = [ValueFilter(name: "token_class", condition: .among(["in"]))]
        let output = [ValueFilter(name: "token_class", condition: .among(["out"]))]
        let one = Self.meter(1, value: classes)
        #expect(Self.overlaps([(one, input), (one, output)]).isEmpty)
        #expect(Self.overlaps([(one, input), (Self.meter(2, value: classes), output)]).count == 1)
    }
}
