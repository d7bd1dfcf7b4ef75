import BillingCore
import Web

/// The body of a new feature, its meter not yet looked up.
struct FeatureInput: Sendable {
    let key: String
    let name: String
    let meter: String
    let filters: [ValueFilter]
    let unit: String

    static func read(_ fields: JSONObjectReader) throws -> FeatureInput {
        let key = fields.key("key")
        let filters = fields.objects("filters", maximumCount: 20) {
            ValueFilter.read($0, nameField: "dimension")
        }
        let input = FeatureInput(
            key: key,
            name: fields.string("name", default: key, minimumLength: 1),
            meter: fields.key("meter"),
            filters: filters.compactMap { $0 },
            unit: fields.string("unit", default: "unit", minimumLength: 1, maximumLength: 50)
        )
        try fields.finish()
        return input
    }

    /// What is wrong with the feature over its meter; nil stands for a meter that does not exist.
    func faults(over meter: Meter?) -> [FieldFault] {
        guard let meter else {
            let detail = "there is no meter \"\(self.meter)\""
            return [FieldFault(pointer: "/meter", code: "unknown_meter", detail: detail)]
        }
        guard meter.archivedVersion == nil else {
            let detail = "the meter \"\(self.meter)\" is archived"
            return [FieldFault(pointer: "/meter", code: "archived", detail: detail)]
        }
        return filters.enumerated().flatMap { faults(of: $1, at: "/filters/\($0)", over: meter.definition) }
    }

    private func faults(of filter: ValueFilter, at pointer: String, over meter: MeterDefinition) -> [FieldFault] {
        let names = meter.dimensionNames
        guard names.contains(filter.name) else {
            let known = names.map { "\"\($0)\"" }.joined(separator: ", ")
            let detail = "the meter has no dimension \"\(filter.name)\"; it has \(known.isEmpty ? "none" : known)"
            return [FieldFault(pointer: "\(pointer)/dimension", code: "unknown_dimension", detail: detail)]
        }
        guard case .classes(let classes, let dimension) = meter.value, dimension == filter.name else { return [] }
        let (member, values): (String, Set<String>) =
            switch filter.condition {
            case .among(let values): ("in", values)
            case .notAmong(let values): ("not_in", values)
            case .exists: ("exists", [])
            }
        return values.subtracting(classes.map(\.name)).sorted().map { value in
            let known = classes.map { "\"\($0.name)\"" }.joined(separator: ", ")
            let detail = "the meter has no class \"\(value)\"; it has \(known)"
            return FieldFault(pointer: "\(pointer)/\(member)", code: "unknown_class", detail: detail)
        }
    }
}
