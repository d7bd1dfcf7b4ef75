import BillingCore
import Web

/// The body of a new meter.
struct MeterInput: Sendable {
    let key: String
    let name: String
    let definition: MeterDefinition

    static func read(_ fields: JSONObjectReader) throws -> MeterInput {
        let key = fields.key("key")
        let name = fields.string("name", default: key, minimumLength: 1)
        let definition = MeterDefinition.read(fields)
        // Here: a meter of before may have one.
        if let type = definition?.eventType,
            type.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        {
            let detail = "no event is of such a type: it holds no control characters"
            fields.fault(at: "event_type", code: "control_character", detail: detail)
        }
        // Of a filter with a fault nothing is left in the definition, and the places would be off.
        if let definition, fields.faults.isEmpty { refuseJSONPaths(in: definition, fields) }
        try fields.finish()
        guard let definition else { throw CatalogFault.unreadable(table: "meter", key: key) }
        return MeterInput(key: key, name: name, definition: definition)
    }

    /// Written as JSONPath a path would name a property `$`, and measure nothing. Meters of before may have one.
    private static func refuseJSONPaths(in definition: MeterDefinition, _ fields: JSONObjectReader) {
        var paths = definition.dimensions.map { ("dimensions/\(JSONPointer.escaped($0.name))", $0.property) }
        paths += definition.filters.enumerated().map { ("filters/\($0)/property", $1.name) }
        switch definition.value {
        case .eventCount: break
        case .property(let path): paths.append(("value", path.text))
        case .classes(let classes, _):
            paths += classes.map { ("value/\(JSONPointer.escaped($0.name))", $0.property) }
        }
        for (place, path) in paths where path.hasPrefix("$.") || path.hasPrefix("$[") {
            let detail = "\"\(path)\" must begin within the event's data, without \"$\", such as \"usage.seconds\""
            fields.fault(at: place, code: "invalid_path", detail: detail)
        }
    }
}
