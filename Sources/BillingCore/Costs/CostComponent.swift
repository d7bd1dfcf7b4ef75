/// What a provider charges for: a class of tokens, or another unit of a call.
package enum CostComponent: UInt8, Sendable, Hashable, CaseIterable {
    /// Input tokens that were neither read from a cache nor written to one.
    case input
    case cachedInput, cacheWrite
    /// Output tokens; those of reasoning too where these have no price of their own.
    case output
    case reasoning
    /// Parts of the uncached input and of the plain output, told apart only where the model has a price for them.
    case inputAudio, outputAudio, inputImage, outputImage
    /// Each call counts once.
    case request
    case inputImages, outputImages, inputSeconds, outputSeconds, inputCharacters, outputCharacters, queries, pages

    /// The name in the API and in the database.
    package var name: String {
        switch self {
        case .input: "input"
        case .cachedInput: "cached_input"
        case .cacheWrite: "cache_write"
        case .output: "output"
        case .reasoning: "reasoning"
        case .inputAudio: "input_audio"
        case .outputAudio: "output_audio"
        case .inputImage: "input_image"
        case .outputImage: "output_image"
        case .request: "request"
        case .inputImages: "input_images"
        case .outputImages: "output_images"
        case .inputSeconds: "input_seconds"
        case .outputSeconds: "output_seconds"
        case .inputCharacters: "input_characters"
        case .outputCharacters: "output_characters"
        case .queries: "queries"
        case .pages: "pages"
        }
    }

    package init?(name: String) {
        guard let component = Self.byName[name] else { return nil }
        self = component
    }

    /// Classes of tokens, in the order of the API.
    package static let tokenClasses: [CostComponent] = [
        .input, .cachedInput, .cacheWrite, .output, .reasoning, .inputAudio, .outputAudio, .inputImage, .outputImage,
    ]

    /// Everything else, in the order of the API.
    package static let units = allCases.filter { !tokenClasses.contains($0) }

    /// Whether this is a class of tokens; the others are units.
    package var isTokenClass: Bool { rawValue <= Self.outputImage.rawValue }

    /// The property of an event's data that says how much there was; nil where the event says it otherwise.
    package var property: String? {
        switch self {
        case .inputAudio: "input_audio_tokens"
        case .outputAudio: "output_audio_tokens"
        case .inputImage: "input_image_tokens"
        case .outputImage: "output_image_tokens"
        case .input, .cachedInput, .cacheWrite, .output, .reasoning, .request: nil
        default: name
        }
    }

    /// The component whose price holds where this one has none. Nothing else falls back: a class of tokens without a
    /// price leaves the whole call unpriced.
    var fallback: CostComponent? { self == .reasoning ? .output : nil }

    private static let byName = Dictionary(uniqueKeysWithValues: allCases.map { ($0.name, $0) })
}

/// Some of the components.
package struct CostComponents: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package init(_ components: some Sequence<CostComponent>) {
        rawValue = components.reduce(0) { $0 | 1 << $1.rawValue }
    }

    package func contains(_ component: CostComponent) -> Bool { rawValue & 1 << component.rawValue != 0 }
}
