import BillingCore
import Catalog
import Testing

@testable import Usage

/// What one event adds to each feature, without a database.
@Suite struct MeteringTests {
    private static let now = Instant(microseconds: 0)

    private static func feature(
        _ aggregation: Aggregation,
        _ value: MeterValue,
        filters: [ValueFilter] = [],
        dimensions: [MeterDimension] = [],
        narrowed: [ValueFilter] = []
    ) -> MeteredFeature {
        let definition = MeterDefinition(
            eventType: "job.done",
            aggregation: aggregation,
            value: value,
            filters: filters,
            dimensions: dimensions
        )
        let meter = Meter(
            id: MeterID(1),
            key: "m",
            name: "m",
            definition: definition,
            createdVersion: 1,
            createdAt: now,
            updatedAt: now
        )
        let feature = Feature(
            id: FeatureID(1),
            key: "f",
            name: "f",
            meterID: meter.id,
            meterKey: "m",
            filters: narrowed,
            createdVersion: 1,
            createdAt: now,
            updatedAt: now
        )
        return MeteredFeature(feature: feature, meter: meter)
    }

    /// What the feature measures of an event with this data; nil when the event does not feed it.
    private static func measure(_ data: String, _ feature: MeteredFeature) throws -> MeasuredValue? {
        let text = #"{"id":"1","source":"s","type":"job.done","subject":"acme","data":\#(data)}"#
        let batch = EventDecoder().decode(Array(text.utf8), as: .plain)
        let event = try #require(batch.events.first, "\(batch.faults)")
        return try Metering.measure(event, features: [feature]).first?.value
    }

    private static func decimal(_ text: String) throws -> FixedDecimal { try FixedDecimal(parsing: text) }

    @Test func eachAggregationMeasuresItsOwnWay() throws {
        let seconds = MeterValue.property("seconds")
        let data = #"{"seconds":"2.50"}"#
        let amount = try Self.decimal("2.5")
        #expect(try Self.measure(data, Self.feature(.sum, seconds)) == .sum(amount))
        #expect(try Self.measure(data, Self.feature(.max, seconds)) == .maximum(amount))
        #expect(try Self.measure(data, Self.feature(.latest, seconds)) == .latest(amount))
        #expect(try Self.measure(data, Self.feature(.count, .eventCount)) == .count)
        let unique = try Self.measure(data, Self.feature(.uniqueCount, seconds))
        #expect(unique == .unique(EventKey(distinctValue: "2.50")))
    }

    @Test func aMissingPropertyFeedsNothing() throws {
        for data in ["{}", #"{"seconds":null}"#, #"{"seconds":{}}"#, #"{"seconds":[1]}"#, #"{"other":1}"#] {
            for aggregation in [Aggregation.sum, .max, .latest, .uniqueCount] {
                #expect(try Self.measure(data, Self.feature(aggregation, .property("seconds"))) == nil)
            }
            #expect(try Self.measure(data, Self.feature(.count, .eventCount)) == .count)
        }
    }

    @Test func whatIsNoQuantityIsAFault() {
        let faults = [
            (#"{"seconds":-1}"#, "negative_quantity"), (#"{"seconds":"-0.5"}"#, "negative_quantity"),
            (#"{"seconds":"many"}"#, "not_a_quantity"), (#"{"seconds":true}"#, "not_a_quantity"),
            (#"{"seconds":1e26}"#, "not_a_quantity"),
        ]
        for (data, code) in faults {
            for aggregation in [Aggregation.sum, .max, .latest] {
                let feature = Self.feature(aggregation, .property("seconds"))
                let error = #expect(throws: MeasurementFault.self) { try Self.measure(data, feature) }
                #expect(error?.code == code)
                #expect(error?.property == "seconds")
            }
        }
    }

    @Test func aDistinctValueIsItsCanonicalText() throws {
        let feature = Self.feature(.uniqueCount, .property("worker"))
        let one = try Self.measure(#"{"worker":1}"#, feature)
        for same in ["1.0", "1e0", "10e-1", "\"1\""] {
            #expect(try Self.measure(#"{"worker":\#(same)}"#, feature) == one)
        }
        for other in ["2", "true", "\"1.0\"", "\"01\""] {
            let value = try Self.measure(#"{"worker":\#(other)}"#, feature)
            #expect(value != nil)
            #expect(value != one)
        }
    }

    @Test func filtersOfTheMeterAreAllRequired() throws {
        let pool = ValueFilter(name: "pool", condition: .among(["a100", "h100"]))
        let region = ValueFilter(name: "region.name", condition: .notAmong(["test"]))
        let spot = ValueFilter(name: "spot", condition: .exists(false))
        let feature = Self.feature(.count, .eventCount, filters: [pool, region, spot])
        #expect(try Self.measure(#"{"pool":"a100","region":{"name":"eu"}}"#, feature) == .count)
        #expect(try Self.measure(#"{"pool":"h100"}"#, feature) == .count)
        #expect(try Self.measure(#"{"pool":"h100","spot":null}"#, feature) == .count)
        let refused = [
            #"{"pool":"t4"}"#, "{}", #"{"pool":"a100","region":{"name":"test"}}"#, #"{"pool":"a100","spot":false}"#,
        ]
        for data in refused {
            #expect(try Self.measure(data, feature) == nil)
        }
    }

    @Test func aFeatureIsNarrowedByDimensions() throws {
        let dimension = MeterDimension(name: "tier", property: "labels.tier")
        let gold = ValueFilter(name: "tier", condition: .among(["gold"]))
        let feature = Self.feature(.sum, .property("seconds"), dimensions: [dimension], narrowed: [gold])
        #expect(try Self.measure(#"{"seconds":3,"labels":{"tier":"gold"}}"#, feature) == .sum(Self.decimal("3")))
        #expect(try Self.measure(#"{"seconds":3,"labels":{"tier":"tin"}}"#, feature) == nil)
        #expect(try Self.measure(#"{"seconds":3}"#, feature) == nil)
    }

    @Test func aFaultyValueBehindAFilterIsNoFault() throws {
        let filter = ValueFilter(name: "pool", condition: .among(["a100"]))
        let feature = Self.feature(.sum, .property("seconds"), filters: [filter])
        #expect(try Self.measure(#"{"seconds":-1,"pool":"t4"}"#, feature) == nil)
    }

    @Test func aClassMapAddsTheClassesThatPass() throws {
        let classes = [
            ValueClass(name: "cached", property: "cached_input_tokens"),
            ValueClass(name: "uncached", property: "uncached_input_tokens"),
            ValueClass(name: "written", property: "cache_write_tokens"),
            ValueClass(name: "out", property: "output_tokens"),
        ]
        let value = MeterValue.classes(classes, dimension: "token_class")
        let data = #"{"input_tokens":100,"cached_input_tokens":60,"output_tokens":7}"#
        #expect(try Self.measure(data, Self.feature(.sum, value)) == .sum(Self.decimal("107")))
        func narrowed(_ condition: ValueFilter.Condition) throws -> MeasuredValue? {
            let filter = ValueFilter(name: "token_class", condition: condition)
            return try Self.measure(data, Self.feature(.sum, value, narrowed: [filter]))
        }
        #expect(try narrowed(.among(["cached", "out"])) == .sum(Self.decimal("67")))
        #expect(try narrowed(.notAmong(["out"])) == .sum(Self.decimal("100")))
        #expect(try narrowed(.among(["nothing"])) == nil)
        #expect(try Self.measure("{}", Self.feature(.sum, value)) == nil)
    }

    @Test func classesThatAddUpBeyondAQuantityAreAFault() {
        let classes = [ValueClass(name: "a", property: "a"), ValueClass(name: "b", property: "b")]
        let feature = Self.feature(.sum, .classes(classes, dimension: "c"))
        let error = #expect(throws: MeasurementFault.self) {
            try Self.measure(#"{"a":6e25,"b":6e25}"#, feature)
        }
        #expect(error?.code == "quantity_out_of_range")
        #expect(error?.property == "b")
    }
}
