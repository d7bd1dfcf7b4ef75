/// Where a meter reads a value: a normalised LLM field, or a path into the event's data (`usage.seconds`).
enum PropertyPath {
    static let maximumLength = 200

    /// What is wrong with a path, as the code and the rest of a sentence about it; nil when nothing is.
    static func fault(in path: String) -> (code: String, requirement: String)? {
        // A field has one name here, or a class map could count it twice under two.
        if let name = EventPropertyPath(path).target.name, name != path {
            return ("alias", "is stored as \"\(name)\"; read that")
        }
        let names = path.split(separator: ".", omittingEmptySubsequences: false)
        let isSound = names.allSatisfy { name in
            !name.isEmpty && name.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7F }
        }
        guard isSound, path.count <= maximumLength else {
            return ("invalid_path", "must be a property of the event's data, or a path such as \"usage.seconds\"")
        }
        return nil
    }
}
