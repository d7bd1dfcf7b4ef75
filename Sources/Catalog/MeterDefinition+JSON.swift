import Web

extension MeterDefinition {
    /// Reads what a meter measures from a request body, or from the stored definition, which has the same members.
    /// Nil only where a fault was recorded.
    static func read(_ fields: JSONObjectReader) -> MeterDefinition? {
        let eventType = fields.string("event_type", maximumLength: 512)
        let aggregation = fields.choice("aggregation", of: Aggregation.self)
        let value = readValue(fields, aggregation: aggregation)
        let filters = fields.objects("filters", maximumCount: 20) { filter -> ValueFilter? in
            let read = ValueFilter.read(filter, nameField: "property")
            if let name = read?.name, !name.isEmpty, let fault = PropertyPath.fault(in: name) {
                filter.fault(at: "property", code: fault.code, detail: "\"\(name)\" \(fault.requirement)")
            }
            return read
        }
        let dimensions = readDimensions(fields, aggregation: aggregation)
        let ignores = fields.strings("ignores", maximumCount: 20)
        switch value {
        case .classes(let classes, let dimension):
            checkClasses(classes, dimension, dimensions: dimensions, ignores: ignores, fields)
        default:
            if !ignores.isEmpty {
                fields.fault(at: "ignores", code: "not_applicable", detail: "\"ignores\" belongs to a class map")
            }
        }
        guard let aggregation, let value else { return nil }
        return MeterDefinition(
            eventType: eventType,
            aggregation: aggregation,
            value: value,
            filters: filters.compactMap { $0 },
            dimensions: dimensions,
            ignores: ignores
        )
    }

    /// The definition as it is shown and stored: the members that `read` reads.
    var json: JSONValue {
        let shownDimensions = dimensions.map { JSONMember(name: $0.name, value: .string($0.property)) }
        return .members([
            "aggregation": .string(aggregation.rawValue),
            "class_dimension": value.classDimension.map { .string($0) } ?? .null,
            "dimensions": .object(shownDimensions),
            "event_type": .string(eventType),
            "filters": .array(filters.map { $0.json(nameField: "property") }),
            "ignores": .array(ignores.map { .string($0) }),
            "value": value.json,
        ])
    }

    private static func readValue(_ fields: JSONObjectReader, aggregation: Aggregation?) -> MeterValue? {
        let classDimension = fields.optionalKey("class_dimension")
        let value = fields.json("value")
        let isClassMap = if case .object? = value { true } else { false }
        if fields.contains("class_dimension"), !isClassMap {
            fields.fault(
                at: "class_dimension",
                code: "not_applicable",
                detail: "\"class_dimension\" belongs to a \"value\" that is a class map"
            )
        }
        switch value {
        case nil:
            guard let aggregation, aggregation != .count else { return .eventCount }
            fields.fault(at: "value", code: "required", detail: "\"value\" is required for \(aggregation.rawValue)")
            return nil
        case .string(let path)?:
            return readProperty(path, fields, aggregation: aggregation)
        case .object(let members)?:
            return readClasses(members, classDimension, fields, aggregation: aggregation)
        case .some(let other):
            let detail = "\"value\" must be a property, or an object of classes, not \(other.kindName)"
            fields.fault(at: "value", code: "invalid_type", detail: detail)
            return nil
        }
    }

    private static func readProperty(
        _ path: String,
        _ fields: JSONObjectReader,
        aggregation: Aggregation?
    ) -> MeterValue? {
        if aggregation == .count {
            fields.fault(at: "value", code: "not_applicable", detail: "a count counts events and reads no \"value\"")
            return nil
        }
        if let fault = PropertyPath.fault(in: path) {
            fields.fault(at: "value", code: fault.code, detail: "\"\(path)\" \(fault.requirement)")
            return nil
        }
        return .property(EventPropertyPath(path))
    }

    private static func readClasses(
        _ members: [JSONMember],
        _ dimension: String?,
        _ fields: JSONObjectReader,
        aggregation: Aggregation?
    ) -> MeterValue? {
        if let aggregation, aggregation != .sum {
            fields.fault(at: "value", code: "not_applicable", detail: "only a sum can have a class map as \"value\"")
            return nil
        }
        guard (1...20).contains(members.count) else {
            fields.fault(at: "value", code: "invalid_count", detail: "a class map has 1 to 20 classes")
            return nil
        }
        var classes: [ValueClass] = []
        for member in members {
            let path = "value/\(JSONPointer.escaped(member.name))"
            guard ResourceKey.isValid(member.name) else {
                fields.fault(at: path, code: "invalid_key", detail: "a class is named by \(ResourceKey.expectation)")
                continue
            }
            guard case .string(let property) = member.value else {
                let detail = "each class of \"value\" must be a property, not \(member.value.kindName)"
                fields.fault(at: path, code: "invalid_type", detail: detail)
                continue
            }
            if let fault = PropertyPath.fault(in: property) {
                fields.fault(at: path, code: fault.code, detail: "\"\(property)\" \(fault.requirement)")
                continue
            }
            classes.append(ValueClass(name: member.name, property: property))
        }
        guard let dimension else {
            if !fields.contains("class_dimension") {
                let detail = "\"class_dimension\" is required: it names the dimension that tells the classes apart"
                fields.fault(at: "class_dimension", code: "required", detail: detail)
            }
            return nil
        }
        guard classes.count == members.count else { return nil }
        return .classes(classes.sorted { $0.name < $1.name }, dimension: dimension)
    }

    private static func readDimensions(_ fields: JSONObjectReader, aggregation: Aggregation?) -> [MeterDimension] {
        let maximumCount = 8
        let map = fields.stringMap("dimensions", maximumCount: maximumCount, maximumLength: PropertyPath.maximumLength)
        if !map.isEmpty, let aggregation, !aggregation.acceptsHardLimits {
            let detail = "only sum and count have \"dimensions\", not \(aggregation.rawValue)"
            fields.fault(at: "dimensions", code: "not_applicable", detail: detail)
        }
        for (name, property) in map {
            let path = "dimensions/\(JSONPointer.escaped(name))"
            if !ResourceKey.isValid(name) {
                let detail = "a dimension is named by \(ResourceKey.expectation)"
                fields.fault(at: path, code: "invalid_key", detail: detail)
            } else if let fault = PropertyPath.fault(in: property) {
                fields.fault(at: path, code: fault.code, detail: "\"\(property)\" \(fault.requirement)")
            }
        }
        return map.map { MeterDimension(name: $0.name, property: $0.value) }.sorted { $0.name < $1.name }
    }

    private static func checkClasses(
        _ classes: [ValueClass],
        _ dimension: String,
        dimensions: [MeterDimension],
        ignores: [String],
        _ fields: JSONObjectReader
    ) {
        if dimensions.contains(where: { $0.name == dimension }) {
            let detail = "\"\(dimension)\" is a name in \"dimensions\" already"
            fields.fault(at: "class_dimension", code: "duplicate", detail: detail)
        }
        for fault in TokenTotals.faults(of: classes, ignoring: ignores) {
            fields.fault(at: fault.path, code: fault.code, detail: fault.detail)
        }
    }
}

extension MeterValue {
    fileprivate var json: JSONValue {
        switch self {
        case .eventCount: .null
        case .property(let property): .string(property.text)
        case .classes(let classes, _):
            .object(classes.map { JSONMember(name: $0.name, value: .string($0.property)) })
        }
    }

    fileprivate var classDimension: String? {
        guard case .classes(_, let dimension) = self else { return nil }
        return dimension
    }
}
