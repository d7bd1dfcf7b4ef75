package import BillingCore

extension CostComponents {
    /// Which prices the tokens of a property are charged by; nil for a property that counts something else.
    static func counted(by property: EventPropertyPath) -> CostComponents? {
        let components: [CostComponent]? =
            switch property.target {
            case .uncachedInputTokens: [.input, .inputAudio, .inputImage]
            case .cachedInputTokens: [.cachedInput]
            case .cacheWriteTokens: [.cacheWrite]
            case .inputTokens: [.input, .inputAudio, .inputImage, .cachedInput, .cacheWrite]
            case .plainOutputTokens: [.output, .outputAudio, .outputImage]
            case .reasoningTokens: [.reasoning]
            case .outputTokens: [.output, .outputAudio, .outputImage, .reasoning]
            case .total: CostComponent.tokenClasses
            default: nil
            }
        return components.map(CostComponents.init)
    }
}

extension CostComponent {
    /// Where an event says how much there was; nil where it says it otherwise.
    package var path: EventPropertyPath? { Self.paths[self] }

    private static let paths = Dictionary(
        uniqueKeysWithValues: allCases.compactMap { component in
            component.property.map { (component, EventPropertyPath($0)) }
        }
    )
}

extension MeterDefinition {
    /// Whether the provider cost of an event can be told for each of the meter's classes: all of them count tokens.
    var tellsCostByClass: Bool {
        guard case .classes(let classes, _) = value else { return false }
        return classes.allSatisfy { $0.costs != nil }
    }
}
