package import BillingCore

/// How the values of a meter's events become one quantity.
package enum Aggregation: String, Sendable, Hashable, CaseIterable {
    case sum, count, max, latest
    case uniqueCount = "unique_count"

    /// Hard limits need a quantity that admission can add to before the event exists: a sum or a count.
    package var acceptsHardLimits: Bool {
        self == .sum || self == .count
    }
}

/// What a meter reads from an event.
package enum MeterValue: Sendable, Hashable {
    /// Every matching event counts as one (`count`).
    case eventCount
    /// One property of the data: a path such as `usage.seconds`, or a normalised LLM field.
    case property(EventPropertyPath)
    /// Several properties, sorted by the class each is counted under: the event contributes one part per class, and
    /// `dimension` tells the parts apart as any other dimension would.
    case classes([ValueClass], dimension: String)
}

/// One entry of a class map: `cached_input` is read from `cached_input_tokens`.
package struct ValueClass: Sendable, Hashable {
    package let name: String
    package let path: EventPropertyPath
    package var property: String { path.text }
    /// What providers charge its tokens by; nil where it counts something else.
    package let costs: CostComponents?

    package init(name: String, property: String) {
        self.name = name
        path = EventPropertyPath(property)
        costs = CostComponents.counted(by: path)
    }
}

/// A dimension of a meter: its name, and the property it is read from.
package struct MeterDimension: Sendable, Hashable {
    package let name: String
    package let path: EventPropertyPath
    package var property: String { path.text }

    package init(name: String, property: String) {
        self.name = name
        path = EventPropertyPath(property)
    }
}

/// What a meter measures. It never changes after creation: usage already counted would mean something else.
package struct MeterDefinition: Sendable, Hashable {
    package let eventType: String
    package let aggregation: Aggregation
    package let value: MeterValue
    package let filters: [ValueFilter]
    /// Sorted by name.
    package let dimensions: [MeterDimension]
    /// Token classes deliberately left out of a class map.
    package let ignores: [String]

    package init(
        eventType: String,
        aggregation: Aggregation,
        value: MeterValue,
        filters: [ValueFilter] = [],
        dimensions: [MeterDimension] = [],
        ignores: [String] = []
    ) {
        self.eventType = eventType
        self.aggregation = aggregation
        self.value = value
        self.filters = filters
        self.dimensions = dimensions
        self.ignores = ignores
    }

    /// The names a feature may filter on, the class dimension included.
    package var dimensionNames: [String] {
        var names = dimensions.map(\.name)
        if case .classes(_, let dimension) = value {
            names.append(dimension)
        }
        return names
    }
}

/// A meter as it is stored. `createdVersion` and `archivedVersion` are versions of the shared catalogue: events
/// stored with a version in between were metered by it.
package struct Meter: Sendable, Hashable {
    package let id: MeterID
    package let key: String
    package internal(set) var name: String
    package let definition: MeterDefinition
    package let createdVersion: Int64
    package internal(set) var archivedVersion: Int64?
    package let createdAt: Instant
    package internal(set) var updatedAt: Instant
    package internal(set) var revision: Int64

    package init(
        id: MeterID,
        key: String,
        name: String,
        definition: MeterDefinition,
        createdVersion: Int64,
        archivedVersion: Int64? = nil,
        createdAt: Instant,
        updatedAt: Instant,
        revision: Int64 = 1
    ) {
        self.id = id
        self.key = key
        self.name = name
        self.definition = definition
        self.createdVersion = createdVersion
        self.archivedVersion = archivedVersion
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.revision = revision
    }
}
