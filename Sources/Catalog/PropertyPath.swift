/// Where a meter reads a value: a normalised LLM field, or a path into the event's data (`usage.seconds`).
enum PropertyPath {
    static let maximumLength = 200

    /// Names that arrive under another name. Events are stored under the normalised one, so a meter that reads
    /// the alias would never see a value.
    private static let normalisedNames = [
        "prompt_tokens": "input_tokens",
        "completion_tokens": "output_tokens",
        "prompt_tokens_details.cached_tokens": "cached_input_tokens",
        "completion_tokens_details.reasoning_tokens": "reasoning_tokens",
        "input_tokens_details.cached_tokens": "cached_input_tokens",
        "output_tokens_details.reasoning_tokens": "reasoning_tokens",
        "cache_read_input_tokens": "cached_input_tokens",
        "cache_creation_input_tokens": "cache_write_tokens",
        "gen_ai.usage.input_tokens": "input_tokens",
        "gen_ai.usage.output_tokens": "output_tokens",
        "gen_ai.request.model": "model",
        "gen_ai.response.model": "model",
        "gen_ai.system": "provider",
        "gen_ai.provider.name": "provider",
    ]

    /// What is wrong with a path, as the code and the rest of a sentence about it; nil when nothing is.
    static func fault(in path: String) -> (code: String, requirement: String)? {
        if let name = normalisedNames[path] {
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
