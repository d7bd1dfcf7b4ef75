package import BillingCore

/// Writes JSON straight into bytes, for answers that are made many thousand times a second; the others go through
/// `JSONValue.init(encoding:)` and look the same: an absent value is `null`, decimals, instants and identifiers are
/// strings. The caller names members in snake case and in alphabetical order.
package struct JSONWriter {
    package private(set) var bytes: [UInt8] = []
    private var isFirst = true

    package init(reserving capacity: Int = 1_024) {
        bytes.reserveCapacity(capacity)
    }

    package mutating func object(_ members: (inout JSONWriter) -> Void) {
        enclosed("{", "}", members)
    }

    package mutating func object(_ name: StaticString, _ members: (inout JSONWriter) -> Void) {
        self.name(name)
        object(members)
    }

    package mutating func array<Element>(
        _ name: StaticString,
        _ elements: [Element],
        _ write: (inout JSONWriter, Element) -> Void
    ) {
        self.name(name)
        enclosed("[", "]") { writer in
            for element in elements {
                writer.separate()
                write(&writer, element)
            }
        }
    }

    package mutating func member(_ name: StaticString, _ text: String?) {
        self.name(name)
        guard let text else { return raw("null") }
        JSONValue.writeString(text, to: &bytes)
    }

    package mutating func member(_ name: StaticString, _ flag: Bool) {
        self.name(name)
        raw(flag ? "true" : "false")
    }

    package mutating func member(_ name: StaticString, _ number: Int64?) {
        self.name(name)
        guard let number else { return raw("null") }
        bytes.append(contentsOf: String(number).utf8)
    }

    package mutating func member(_ name: StaticString, _ amount: FixedDecimal?) {
        self.name(name)
        unescaped(amount?.description)
    }

    package mutating func member(_ name: StaticString, _ time: Instant?) {
        self.name(name)
        unescaped(time?.description)
    }

    package mutating func member(_ name: StaticString, _ id: (some UUIDIdentifier)?) {
        self.name(name)
        unescaped(id?.rawValue.description)
    }

    package mutating func null(_ name: StaticString) {
        self.name(name)
        raw("null")
    }

    /// An element of an array.
    package mutating func element(_ text: String) {
        JSONValue.writeString(text, to: &bytes)
    }

    private mutating func name(_ name: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        raw(name)
        raw("\":")
    }

    private mutating func separate() {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
    }

    private mutating func enclosed(_ start: StaticString, _ end: StaticString, _ content: (inout JSONWriter) -> Void) {
        raw(start)
        isFirst = true
        content(&self)
        raw(end)
        isFirst = false
    }

    private mutating func unescaped(_ text: String?) {
        guard let text else { return raw("null") }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func raw(_ text: StaticString) {
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }
}
