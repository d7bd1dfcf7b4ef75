import BillingCore
import Web

/// The body of a new meter.
struct MeterInput: Sendable {
    let key: String
    let name: String
    let definition: MeterDefinition

    /// What cannot change once usage was counted.
    static let immutableFields = [
        "key", "event_type", "aggregation", "value", "class_dimension", "filters", "dimensions", "ignores",
    ]

    static func read(_ fields: JSONObjectReader) throws -> MeterInput {
        let key = fields.key("key")
        let name = fields.string("name", default: key, minimumLength: 1)
        let definition = MeterDefinition.read(fields)
        try fields.finish()
        guard let definition else { throw CatalogFault.unreadable(table: "meter", key: key) }
        return MeterInput(key: key, name: name, definition: definition)
    }
}

/// A change of what may change of a meter, a feature or a plan: its name.
struct NamePatch: Sendable {
    /// Nil keeps it.
    let name: String?

    static func read(_ body: JSONValue, immutable: [String], of subject: String) throws -> NamePatch {
        let fields = JSONObjectReader(body)
        fields.rejectImmutable(immutable, of: subject)
        fields.rejectNull(["name"], in: body)
        let name = fields.optionalString("name")
        try fields.finish()
        return NamePatch(name: name)
    }
}

extension Meter {
    func renamed(_ name: String?, now: Instant) -> Meter {
        copy(name: name ?? self.name, archivedVersion: archivedVersion, now: now)
    }

    func archived(at version: Int64, now: Instant) -> Meter {
        copy(name: name, archivedVersion: version, now: now)
    }

    private func copy(name: String, archivedVersion: Int64?, now: Instant) -> Meter {
        Meter(
            id: id,
            key: key,
            name: name,
            definition: definition,
            createdVersion: createdVersion,
            archivedVersion: archivedVersion,
            createdAt: createdAt,
            updatedAt: now,
            revision: revision + 1
        )
    }
}
