import BillingCore
import Web

extension Price {
    /// What keeps the price from charging a feature. Pointers start with that of the price itself.
    func faults(over metered: MeteredFeature, at pointer: String) -> [FieldFault] {
        switch self {
        case .flat, .perUnit, .graduated, .volume, .stairstep, .packages: []
        case .percentage: Self.percentageFaults(over: metered, at: pointer)
        case .costPlus: Self.costFaults(over: metered, at: pointer)
        case .matrix(let matrix): matrix.faults(over: metered, at: pointer)
        }
    }

    private static func percentageFaults(over metered: MeteredFeature, at pointer: String) -> [FieldFault] {
        let aggregation = metered.meter.definition.aggregation
        guard aggregation != .sum else { return [] }
        let detail = "a percentage is of a summed money value; \"\(metered.feature.key)\" is \(aggregation.rawValue)"
        return [FieldFault(pointer: "\(pointer)/model", code: "not_applicable", detail: detail)]
    }

    /// A provider cost is told by class only where the classes are those of tokens; otherwise a feature of some of an
    /// event's classes would charge all of it.
    private static func costFaults(over metered: MeteredFeature, at pointer: String) -> [FieldFault] {
        guard let dimension = metered.meter.definition.classDimension,
            metered.feature.filters.contains(where: { $0.name == dimension }),
            !metered.meter.definition.tellsCostByClass
        else { return [] }
        let detail =
            "\"\(metered.feature.key)\" counts some of an event's classes, but the provider cost is that of the event"
        return [FieldFault(pointer: "\(pointer)/model", code: "not_applicable", detail: detail)]
    }
}

extension MatrixPrice {
    fileprivate func faults(over metered: MeteredFeature, at pointer: String) -> [FieldFault] {
        let definition = metered.meter.definition
        guard definition.aggregation.acceptsHardLimits else {
            let detail =
                "a matrix needs a sum or a count; "
                + "\"\(metered.feature.key)\" is \(definition.aggregation.rawValue)"
            return [FieldFault(pointer: "\(pointer)/model", code: "not_applicable", detail: detail)]
        }
        let unknown = dimensions.filter { !definition.dimensionNames.contains($0) }
        guard unknown.isEmpty else {
            let known = definition.dimensionNames.map { "\"\($0)\"" }.joined(separator: ", ")
            return unknown.map { name in
                let detail = "the meter has no dimension \"\(name)\"; it has \(known.isEmpty ? "none" : known)"
                return FieldFault(pointer: "\(pointer)/dimensions", code: "unknown_dimension", detail: detail)
            }
        }
        return cellFaults(over: metered, at: pointer) + coverageFaults(over: metered, at: pointer)
    }

    private func cellFaults(over metered: MeteredFeature, at pointer: String) -> [FieldFault] {
        let definition = metered.meter.definition
        var faults: [FieldFault] = []
        if case .classes(let classes, let dimension) = definition.value,
            let position = dimensions.firstIndex(of: dimension)
        {
            let known = classes.map { "\"\($0.name)\"" }.joined(separator: ", ")
            for (index, cell) in cells.enumerated() where !classes.contains(where: { $0.name == cell.values[position] })
            {
                let detail = "the meter has no class \"\(cell.values[position])\"; it has \(known)"
                let path = "\(pointer)/cells/\(index)/match/\(JSONPointer.escaped(dimension))"
                faults.append(FieldFault(pointer: path, code: "unknown_class", detail: detail))
            }
        }
        for (path, price) in nestedPrices(at: pointer) {
            faults += price.faults(over: metered, at: path)
            if case .costPlus = price, let dimension = definition.classDimension, dimensions.contains(dimension),
                !definition.tellsCostByClass
            {
                let detail = "the provider cost is that of the event, which \"\(dimension)\" splits over cells"
                faults.append(FieldFault(pointer: "\(path)/model", code: "not_applicable", detail: detail))
            }
        }
        return faults
    }

    private func nestedPrices(at pointer: String) -> [(path: String, price: Price)] {
        let listed = cells.enumerated().map { ("\(pointer)/cells/\($0)/price", $1.price) }
        return listed + (defaultPrice.map { [("\(pointer)/default", $0)] } ?? [])
    }

    /// Without a default every combination that an event can have must be listed, which takes dimensions that can have
    /// only some values: the classes of a class map, or those an `in` filter of feature or meter lets through.
    private func coverageFaults(over metered: MeteredFeature, at pointer: String) -> [FieldFault] {
        guard defaultPrice == nil else { return [] }
        var open: [String] = []
        var closed: [[String]] = []
        for name in dimensions {
            if let values = metered.possibleValues(of: name) {
                closed.append(values)
            } else {
                open.append("\"\(name)\"")
            }
        }
        let missing: String
        if open.isEmpty {
            guard let values = firstUnlisted(of: closed) else { return [] }
            missing = "\(cell(values).text) has no price"
        } else {
            missing = "\(open.joined(separator: ", ")) can have values that no cell lists"
        }
        let detail = "\"default\" is required: \(missing)"
        return [FieldFault(pointer: "\(pointer)/default", code: "required", detail: detail)]
    }

    /// The first combination without a price. No more combinations are tried than there are cells, and one.
    private func firstUnlisted(of values: [[String]]) -> [String]? {
        guard values.allSatisfy({ !$0.isEmpty }) else { return nil }
        var position = values.map { _ in 0 }
        while true {
            let combination = zip(values, position).map { $0[$1] }
            guard price(ofCell: cell(combination).text) != nil else { return combination }
            guard let next = position.indices.last(where: { position[$0] + 1 < values[$0].count }) else { return nil }
            position[next] += 1
            for later in position.indices where later > next { position[later] = 0 }
        }
    }
}

extension MeteredFeature {
    /// Every value of a dimension that usage of the feature can have, in order; nil when there is no end to them.
    func possibleValues(of dimension: String) -> [String]? {
        let filters = feature.filters.filter { $0.name == dimension }
        if case .classes(let classes, dimension) = meter.definition.value {
            return classes.map(\.name).filter { name in filters.allSatisfy { $0.admits(name) } }
        }
        let property = meter.definition.dimensions.first { $0.name == dimension }?.property
        let all = filters + meter.definition.filters.filter { $0.name == property }
        let listed = all.compactMap { filter -> Set<String>? in
            guard case .among(let values) = filter.condition else { return nil }
            return values
        }
        return listed.first.map { values in
            values.filter { value in all.allSatisfy { $0.admits(value) } }.sorted()
        }
    }
}

extension MeterDefinition {
    /// The dimension that tells the classes of a class map apart.
    package var classDimension: String? {
        guard case .classes(_, let dimension) = value else { return nil }
        return dimension
    }
}
