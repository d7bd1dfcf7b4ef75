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
        try fields.finish()
        guard let definition else { throw CatalogFault.unreadable(table: "meter", key: key) }
        return MeterInput(key: key, name: name, definition: definition)
    }
}
