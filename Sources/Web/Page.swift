package import BillingCore

/// Which part of a list is asked for.
package struct PageRequest: Sendable {
    package static let defaultLimit = 50
    package static let maximumLimit = 500

    package let limit: Int
    /// The sort key of the last element of the page before; nil for the first page.
    package let after: [String]?
    let binding: CursorBinding

    /// For a store that can't read its own position back out of a cursor.
    package static let invalidCursor = Problem.validationFailed([
        FieldFault(pointer: "?cursor", code: "invalid_cursor", detail: invalidCursorDetail)
    ])
    static let invalidCursorDetail = "This is no cursor of this list with these filters."

    /// How many rows to read: one more than asked for tells whether there is a next page.
    package var fetchCount: Int { limit + 1 }

    /// The id to continue after, in lists that are sorted by one.
    package func position<ID: UUIDIdentifier>(_ type: ID.Type) throws -> ID? {
        guard let after else { return nil }
        guard after.count == 1, let id = after.first.flatMap({ ID($0) }) else { throw Self.invalidCursor }
        return id
    }

    /// Cuts `fetchCount` rows down to the page. `position` is an element's sort key, as texts that the store can
    /// read back.
    package func page<Element>(_ rows: [Element], position: (Element) -> [String]) -> Page<Element> {
        guard rows.count > limit, let last = rows.prefix(limit).last else {
            return Page(data: rows, nextCursor: nil)
        }
        return Page(data: Array(rows.prefix(limit)), nextCursor: Cursor.encoded(position(last), binding: binding))
    }

    /// Where the work goes on; nil at its end.
    package func cursor(continuingAt next: [String]?) -> String? {
        next.map { Cursor.encoded($0, binding: binding) }
    }

    /// A page of elements that were picked out of more rows. `next` is the position where the search goes on, nil at
    /// the end of the list; the page may hold fewer elements than were asked for.
    package func page<Element>(_ data: [Element], continuingAt next: [String]?) -> Page<Element> {
        Page(data: data, nextCursor: cursor(continuingAt: next))
    }
}

extension JSONObjectReader {
    /// `limit` and `cursor` of work that is done in pieces.
    /// - Parameters:
    ///   - limits: of which the upper bound is the default.
    ///   - filters: what the cursor is bound to beside the operation.
    package func page(limits: ClosedRange<Int>, of operationID: String, filters: [String]) -> PageRequest {
        let limit = optionalInteger("limit", in: limits) ?? limits.upperBound
        let binding = CursorBinding(operationID: operationID, filters: filters)
        let text = optionalString("cursor", maximumLength: Cursor.maximumLength)
        let position = text.flatMap { Cursor.decoded($0, binding: binding) }
        if text != nil, position == nil {
            fault(at: "cursor", code: "invalid_cursor", detail: PageRequest.invalidCursorDetail)
        }
        return PageRequest(limit: limit, after: position, binding: binding)
    }
}

/// One page of a list, as it is answered.
package struct Page<Element: Sendable>: Sendable {
    package let data: [Element]
    package let nextCursor: String?

    package init(data: [Element], nextCursor: String?) {
        self.data = data
        self.nextCursor = nextCursor
    }

    package func map<Other>(_ transform: (Element) throws -> Other) rethrows -> Page<Other> {
        Page<Other>(data: try data.map(transform), nextCursor: nextCursor)
    }
}

extension Page: Encodable where Element: Encodable {}

/// What a cursor belongs to: following it with other filters would skip or repeat elements, so that is refused.
struct CursorBinding: Sendable {
    let digest: String

    init(operationID: String, filters: [String]) {
        // FNV-1a: this tells lists apart, it protects nothing.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in ([operationID] + filters).joined(separator: "\u{1f}").utf8 {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        digest = String(hash, radix: 36)
    }
}

/// The text of `next_cursor`: base64url of length-prefixed parts, the first of which is the binding.
enum Cursor {
    /// Of what the service itself gives out: five texts of 255 bytes and some numbers.
    static let maximumLength = 2_048

    static func encoded(_ position: [String], binding: CursorBinding) -> String {
        var bytes: [UInt8] = []
        for part in [binding.digest] + position {
            bytes.append(contentsOf: "\(part.utf8.count):".utf8)
            bytes.append(contentsOf: part.utf8)
        }
        return Base64URL.encoded(bytes)
    }

    static func decoded(_ text: String, binding: CursorBinding) -> [String]? {
        guard let bytes = Base64URL.decoded(text) else { return nil }
        var parts: [String] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let digits = rest.prefix { $0 != UInt8(ascii: ":") }
            rest = rest.dropFirst(digits.count + 1)
            guard let count = Int(String(decoding: digits, as: UTF8.self)), count >= 0, count <= rest.count,
                let part = String(validating: rest.prefix(count), as: UTF8.self),
                // PostgreSQL stores no such text.
                !part.utf8.contains(0)
            else { return nil }
            parts.append(part)
            rest = rest.dropFirst(count)
        }
        guard parts.first == binding.digest else { return nil }
        return Array(parts.dropFirst())
    }
}
