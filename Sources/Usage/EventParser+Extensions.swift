internal import BillingCore
internal import Web

extension EventParser {
    /// Reads a CloudEvents extension attribute, or `dataschema`, whose value must be a string.
    mutating func parseExtension(_ key: JSONKey, isText: Bool) throws(JSONFault) {
        let kind = try scanner.peek()
        let start = scanner.position
        let name = scanner.string(key.text)
        let hash: UInt64
        switch kind {
        case .null:
            return try scanner.scanLiteral(kind)
        case .string:
            let text = try scanner.scanString()
            guard !byteCount(text, exceeds: EventLimits.text) else {
                return reject(at: start, "too_long", "\"\(name)\" must have at most \(EventLimits.text) bytes")
            }
            guard !scanner.withUTF8(text, { Self.hasControlCharacters($0) }) else {
                return reject(at: start, "invalid_attribute", "\"\(name)\" must not hold control characters")
            }
            hash = scanner.hash(of: text)
            readReservation(name, text, at: start)
        case .number where !isText:
            let number = try scanner.scanNumber()
            hash = Self.hash(number.canonicalText(in: scanner.bytes))
        case .true where !isText, .false where !isText:
            try scanner.scanLiteral(kind)
            hash = Self.hash(kind == .true ? "true" : "false")
        default:
            try scanner.skipValue()
            let allowed = isText ? "a string" : "a string, a number or a boolean"
            return reject(at: start, "invalid_attribute", "\"\(name)\" must be \(allowed)")
        }
        if name == "reservationpartial" {
            readPartial(hash, at: start)
        } else if name == "reservationid", kind != .string {
            rejectReservation(start)
        }
        draft.extensionsHash.add(key: key.hash, value: hash)
        scanner.copyMember(key, value: start..<scanner.position, to: &extensions)
    }

    /// Extensions are hashed by their canonical text, because the HTTP binary mode has nothing else.
    static func hash(_ text: String) -> UInt64 {
        Array(text.utf8).withUnsafeBytes { JSONHash.bytes($0) }
    }

    private mutating func readReservation(_ name: String, _ text: JSONText, at offset: Int) {
        guard name == "reservationid" else { return }
        draft.reservationID = UUIDv7(scanner.string(text))
        if draft.reservationID == nil { rejectReservation(offset) }
    }

    private mutating func rejectReservation(_ offset: Int) {
        let detail = "\"reservationid\" must be the id of a reservation, as the admission returned it"
        reject(at: offset, "invalid_reservation", detail)
    }

    private mutating func readPartial(_ hash: UInt64, at offset: Int) {
        draft.reservationPartial = hash == Self.hash("true")
        if !draft.reservationPartial, hash != Self.hash("false") {
            reject(at: offset, "invalid_reservation", "\"reservationpartial\" must be true or false")
        }
    }
}

extension JSONScanner {
    /// Appends a comma, the name as it was written, and a colon.
    func copyName(_ key: JSONKey, to buffer: inout [UInt8]) {
        buffer.append(UInt8(ascii: ","))
        buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[(key.text.start - 1)..<(key.text.end + 1)]))
        buffer.append(UInt8(ascii: ":"))
    }

    /// Appends a member as it was written, with a comma before it.
    func copyMember(_ key: JSONKey, value: Range<Int>, to buffer: inout [UInt8]) {
        copyName(key, to: &buffer)
        buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[value]))
    }
}
