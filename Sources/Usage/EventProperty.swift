package import Catalog
package import BillingCore
internal import Web

/// The value of a property of an event.
package struct EventProperty: Sendable, Hashable {
    /// The canonical text, for a dimension or a distinct value: 1, 1.0 and 1e0 are all "1".
    package let text: String
    /// The value when it is a number or a string that is one, rounded to 12 digits; nil also for 10^26 and beyond.
    package let number: FixedDecimal?

    package init(text: String, number: FixedDecimal?) {
        self.text = text
        self.number = number
    }
}

extension UsageEvent {
    /// The property by its name; nil when the event has none, or it is null, an object or an array.
    package func property(_ path: EventPropertyPath) -> EventProperty? {
        if let label = label(path.target) {
            return EventProperty(text: label, number: EventProperty.number(of: label))
        }
        if path.target == .cost {
            return usage.cost.map { EventProperty(text: $0.description, number: $0) }
        }
        if path.target == .data || path.target == .total, let value = dataValue(at: path.text) {
            return value
        }
        return tokens(path.target).map { EventProperty(text: String($0), number: FixedDecimal($0)) }
    }

    /// The property's number alone, which costs less than the property.
    package func number(at path: EventPropertyPath) -> FixedDecimal? {
        if path.target != .total, let tokens = tokens(path.target) {
            return FixedDecimal(tokens)
        }
        return path.target == .cost ? usage.cost : property(path)?.number
    }

    private func label(_ target: EventPropertyPath.Target) -> String? {
        switch target {
        case .provider: usage.provider
        case .model: usage.model
        case .user: usage.user
        case .feature: usage.feature
        case .costCenter: costCenter
        case .requestID: usage.requestID
        default: nil
        }
    }

    /// A count of tokens. A class of the input or of the output exists where that total does.
    private func tokens(_ target: EventPropertyPath.Target) -> Int64? {
        switch target {
        case .inputTokens: usage.inputTokens
        case .outputTokens: usage.outputTokens
        case .uncachedInputTokens: usage.inputTokens == nil ? nil : usage.tokenClasses?.uncachedInput
        case .cachedInputTokens: usage.cachedInputTokens ?? usage.inputTokens.map { _ in 0 }
        case .cacheWriteTokens: usage.cacheWriteTokens ?? usage.inputTokens.map { _ in 0 }
        case .plainOutputTokens:
            usage.outputTokens == nil ? nil : usage.plainOutputAtMost ?? usage.tokenClasses?.plainOutput
        case .reasoningTokens: usage.reasoningTokens ?? usage.outputTokens.map { _ in 0 }
        case .total:
            usage.inputTokens == nil && usage.outputTokens == nil
                ? nil : (usage.inputTokens ?? 0) + (usage.outputTokens ?? 0)
        default: nil
        }
    }

    /// The JSON pointer, into the event, of the member that the property by this name is read from.
    func pointer(toProperty path: String) -> String {
        let found = atDataValue(path) { scanner in JSONPointer.locating(scanner.position, in: scanner.bytes) }
        return "/data" + (found ?? JSONPointer.appending(path, to: ""))
    }

    private func dataValue(at path: String) -> EventProperty? {
        atDataValue(path) { scanner in try? scanner.scalar() }
    }

    /// - Parameter read: what is made of the value at the path, which the scanner stands before.
    /// - Returns: nil where there is no such value too.
    private func atDataValue<Result>(_ path: String, _ read: (inout JSONScanner) -> Result?) -> Result? {
        guard var data else { return nil }
        var path = path
        return data.withUTF8 { bytes in
            path.withUTF8 { path in
                var scanner = JSONScanner(
                    UnsafeRawBufferPointer(bytes),
                    numberCharacters: JSONLimits.storedNumberCharacters
                )
                guard (try? scanner.seek(UnsafeRawBufferPointer(path))) == true else { return nil }
                return read(&scanner)
            }
        }
    }
}

extension EventProperty {
    fileprivate static func number(of text: String) -> FixedDecimal? {
        guard let first = text.utf8.first, first == UInt8(ascii: "-") || first &- UInt8(ascii: "0") <= 9 else {
            return nil
        }
        return try? FixedDecimal(parsing: text)
    }
}

extension JSONScanner {
    /// Goes to the value at a path below the object that comes next. A member whose name is all of the path, points
    /// included, goes before one whose name is its first step.
    /// - Returns: false where there is no such value.
    fileprivate mutating func seek(_ path: UnsafeRawBufferPointer) throws(JSONFault) -> Bool {
        guard try peek() == .object else { return false }
        var first: Int?
        let point = path.firstIndex(of: UInt8(ascii: "."))
        var progress = try beginObject()
        while let key = try nextKey(&progress) {
            let start = position
            if withUTF8(key.text, { Self.same($0, path) }) {
                return true
            }
            if let point, withUTF8(key.text, { Self.same($0, UnsafeRawBufferPointer(rebasing: path[..<point])) }) {
                first = start
            }
            try skipValue()
        }
        guard let first, let point else { return false }
        position = first
        return try seek(UnsafeRawBufferPointer(rebasing: path[(point + 1)...]))
    }

    fileprivate mutating func scalar() throws(JSONFault) -> EventProperty? {
        switch try peek() {
        case .string:
            let text = string(try scanString())
            return EventProperty(text: text, number: EventProperty.number(of: text))
        case .number:
            let number = try scanNumber()
            let decimal = try? FixedDecimal(parsing: UnsafeRawBufferPointer(rebasing: bytes[number.start..<number.end]))
            return EventProperty(text: number.canonicalText(in: bytes), number: decimal)
        case .true: return EventProperty(text: "true", number: nil)
        case .false: return EventProperty(text: "false", number: nil)
        case .null, .object, .array: return nil
        }
    }

    private static func same(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        left.count == right.count && left.elementsEqual(right)
    }
}
