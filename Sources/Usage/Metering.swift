import BillingCore
package import Catalog

/// Measures events by the meters of the catalogue: the pure step between a decoded event and its counters.
package enum Metering {
    /// What an event adds to each feature that it feeds, by ascending feature.
    ///
    /// A feature is left out when the event's values don't pass its filters, or when the event lacks the property its
    /// meter reads.
    /// - Parameters:
    ///   - plan: the plan version that the event counts under, whose matrix prices tell cells apart.
    ///   - cost: what the provider charges for the event, in the tenant's currency, which is that of its plans.
    /// - Throws: `MeasurementFault` when a property that a meter reads has a value that cannot be measured.
    package static func measure(
        _ event: UsageEvent,
        features: [MeteredFeature],
        under plan: PlanVersion? = nil,
        cost: MeasuredCost = .nothing
    ) throws(MeasurementFault) -> [Measurement] {
        var measurements: [Measurement] = []
        for metered in features {
            guard admits(metered.meter.definition, event),
                let value = try value(of: event, for: metered)
            else { continue }
            var measurement = Measurement(
                feature: metered.feature.id,
                value: value,
                cost: metered.cost(of: cost)
            )
            if let matrix = plan?.matrices[metered.feature.id] {
                measurement.cells = try cells(of: measurement, cost, matrix, event, metered)
            }
            measurements.append(measurement)
        }
        return measurements
    }

    /// The same for an event that is already stored: a property that cannot be measured feeds nothing, because the
    /// event can no longer be refused.
    package static func measureStored(
        _ event: UsageEvent,
        features: [MeteredFeature],
        under plan: PlanVersion? = nil,
        cost: MeasuredCost = .nothing
    ) -> [Measurement] {
        features.compactMap { metered in
            try? measure(event, features: [metered], under: plan, cost: cost).first
        }
    }

    private static func admits(_ meter: MeterDefinition, _ event: UsageEvent) -> Bool {
        meter.filters.allSatisfy { $0.admits(event.property($0.path)?.text) }
    }

    private static func value(
        of event: UsageEvent,
        for metered: MeteredFeature
    ) throws(MeasurementFault) -> MeasuredValue? {
        let definition = metered.meter.definition
        guard admits(metered.feature.filters, of: definition, event) else { return nil }
        switch definition.value {
        case .eventCount:
            return .count
        case .classes:
            return try sum(of: metered.classes, in: event)
        case .property(let path):
            guard let property = event.property(path) else { return nil }
            if definition.aggregation == .uniqueCount { return .unique(EventKey(distinctValue: property.text)) }
            return .measured(try quantity(property, at: path.text), by: definition.aggregation)
        }
    }

    /// Whether the event passes the feature's filters on ordinary dimensions; those on the class dimension choose
    /// among an event's parts instead.
    private static func admits(_ filters: [ValueFilter], of meter: MeterDefinition, _ event: UsageEvent) -> Bool {
        filters.allSatisfy { filter in
            guard let dimension = meter.dimensions.first(where: { $0.name == filter.name }) else { return true }
            return filter.admits(event.property(dimension.path)?.text)
        }
    }

    private static func sum(
        of classes: [ValueClass],
        in event: UsageEvent
    ) throws(MeasurementFault) -> MeasuredValue? {
        var total: FixedDecimal?
        try forEachClass(of: classes, in: event) { (part, amount) throws(MeasurementFault) in
            do {
                total = try (total ?? .zero).adding(amount)
            } catch {
                throw MeasurementFault(
                    property: part.property,
                    code: "quantity_out_of_range",
                    detail: "The classes of this event add up to 10^26 or more."
                )
            }
        }
        return total.map { MeasuredValue.sum(together($0, of: classes, in: event)) }
    }

    /// What classes come to together of which each is measured at the most that it can be: of a call that may use fewer
    /// output tokens than it asked for, no more than those.
    private static func together(
        _ total: FixedDecimal,
        of classes: [ValueClass],
        in event: UsageEvent
    ) -> FixedDecimal {
        let beyond = event.usage.outputClassesBeyondTotal
        guard beyond > 0,
            Set(classes.map(\.path.target)).isSuperset(of: [.plainOutputTokens, .reasoningTokens])
        else { return total }
        return (try? total.subtracting(FixedDecimal(beyond))) ?? total
    }

    /// The classes that the event has, with the quantity of each.
    static func forEachClass(
        of classes: [ValueClass],
        in event: UsageEvent,
        _ body: (ValueClass, FixedDecimal) throws(MeasurementFault) -> Void
    ) throws(MeasurementFault) {
        for part in classes {
            guard let property = event.property(part.path) else { continue }
            try body(part, quantity(property, at: part.property))
        }
    }

    private static func quantity(
        _ property: EventProperty,
        at path: String
    ) throws(MeasurementFault) -> FixedDecimal {
        guard let number = property.number else {
            throw MeasurementFault(
                property: path,
                code: "not_a_quantity",
                detail: "A meter reads '\(path)' as a quantity: it must be a number below 10^26."
            )
        }
        guard !number.isNegative else {
            throw MeasurementFault(
                property: path,
                code: "negative_quantity",
                detail: "A meter reads '\(path)' as a quantity: it must not be negative."
            )
        }
        return number
    }
}

extension MeteredFeature {
    /// What the provider charges for the part of a call that the feature measures: for the classes that pass its
    /// filters on the class dimension, or else for the whole call. Nil when that is not known.
    fileprivate func cost(of call: MeasuredCost) -> FixedDecimal? {
        switch costShare {
        case .whole: call.whole
        case .components(let components): components.flatMap(call.cost)
        }
    }
}

extension MeasuredValue {
    fileprivate static func measured(_ amount: FixedDecimal, by aggregation: Aggregation) -> MeasuredValue {
        switch aggregation {
        case .sum: .sum(amount)
        case .max: .maximum(amount)
        case .latest: .latest(amount)
        case .count, .uniqueCount: .count
        }
    }
}
