import Web

/// A change of what may change of a meter, a feature or a plan: its name.
struct NamePatch: Sendable {
    /// Nil keeps it.
    let name: String?

    static func read(_ body: JSONValue, immutable: [String], of resource: CatalogFault.Resource) throws -> NamePatch {
        let fields = JSONObjectReader(body)
        fields.rejectImmutable(immutable, of: "a \(resource.rawValue)")
        fields.rejectNull(["name"])
        let name = fields.optionalString("name")
        try fields.finish()
        return NamePatch(name: name)
    }
}
