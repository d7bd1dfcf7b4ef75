internal import BillingCore
internal import Web

extension EventParser {
    mutating func parseMembers() throws(JSONFault) {
        var progress = try scanner.beginObject()
        while let key = try scanner.nextKey(&progress) {
            try parseMember(key)
        }
    }

    private mutating func parseMember(_ key: JSONKey) throws(JSONFault) {
        let name = scanner.withUTF8(key.text) { EventAttribute($0) }
        if name == .extensionName || name == .other, foreignNames.contains(where: { scanner.matches(key.text, $0) }) {
            let start = scanner.position
            try scanner.skipValue()
            return scanner.copyMember(key, value: start..<scanner.position, to: &foreign)
        }
        switch name {
        case .id: draft.id = try identity("id", .id)
        case .source: draft.source = try identity("source", .source)
        case .type: draft.type = try identity("type", .type)
        case .subject: draft.subject = try identity("subject", .subject)
        case .data: try parseData()
        case .time: try parseTime()
        case .specVersion: try parseSpecVersion()
        case .dataContentType: try parseContentType()
        case .dataSchema:
            try parseExtension(key, isText: true)
        case .dataBase64:
            let detail = "\"data_base64\" is not accepted: send the usage as a JSON object in \"data\""
            reject(at: scanner.position, "unsupported_data_encoding", detail)
            try scanner.skipValue()
        case .extensionName where takesExtensions: try parseExtension(key, isText: false)
        case .extensionName, .other:
            rejectName(key)
            try scanner.skipValue()
        }
    }

    private mutating func rejectName(_ key: JSONKey) {
        // What a name might have been meant to be is not looked for where nobody is told.
        guard tellsMore else { return reject(at: scanner.position, "unknown_attribute", "") }
        let name = scanner.string(key.text)
        guard takesExtensions else {
            let known = (EventAttribute.names + foreignNames.map(\.description)).sorted().map { "\"\($0)\"" }
            let detail = "\"\(name)\" is not a field here; the fields are \(known.joined(separator: ", "))"
            return reject(at: scanner.position, "unknown_field", detail)
        }
        let nearest =
            name.utf8.count > 30 ? nil : Nearest.name(to: name, among: ["reservationid", "reservationpartial"])
        let hint = nearest.map { "; do you mean \"\($0)\"?" } ?? ""
        let detail =
            "\"\(name)\" is neither a CloudEvents attribute nor the name of an extension, "
            + "which has lower-case letters and digits only\(hint)"
        reject(at: scanner.position, "unknown_attribute", detail)
    }

    func byteCount(_ text: JSONText, exceeds limit: Int) -> Bool {
        text.end - text.start > limit && (!text.hasEscapes || scanner.byteCount(text) > limit)
    }

    /// Reads a string attribute; nil for null. A value of another type, or one too long, is a fault, then nil too.
    private mutating func attribute(_ name: String, limit: Int) throws(JSONFault) -> JSONText? {
        let kind = try scanner.peek()
        let start = scanner.position
        guard kind == .string else {
            try scanner.skipValue()
            if kind != .null {
                reject(at: start, "invalid_attribute", "\"\(name)\" must be a string")
            }
            return nil
        }
        let text = try scanner.scanString()
        if byteCount(text, exceeds: limit) {
            reject(at: start, "too_long", "\"\(name)\" must have at most \(limit) bytes")
            return nil
        }
        if scanner.withUTF8(text, { Self.hasControlCharacters($0) }) {
            reject(at: start, "invalid_attribute", "\"\(name)\" must not hold control characters")
            return nil
        }
        return text
    }

    /// CloudEvents 1.0.2, type system: strings hold no U+0000 to U+001F and no U+007F to U+009F.
    static func hasControlCharacters(_ bytes: UnsafeRawBufferPointer) -> Bool {
        for index in bytes.indices {
            let byte = bytes[index]
            if byte < 0x20 || byte == 0x7F { return true }
            if byte == 0xC2, index + 1 < bytes.count, bytes[index + 1] < 0xA0 { return true }
        }
        return false
    }

    private mutating func identity(_ name: String, _ flag: EventIdentity) throws(JSONFault) -> JSONText? {
        let known = batch.faults.count
        let text = try attribute(name, limit: EventLimits.identity)
        if batch.faults.count > known {
            draft.faulty.insert(flag)
        }
        guard let text, !text.isEmpty else { return nil }
        return text
    }

    private mutating func parseTime() throws(JSONFault) {
        let kind = try scanner.peek()
        let start = scanner.position
        guard kind == .string else {
            try scanner.skipValue()
            if kind != .null { rejectTime(start) }
            return
        }
        let text = try scanner.scanString()
        draft.time = scanner.withUTF8(text) { try? Instant(parsing: $0) }
        if draft.time == nil { rejectTime(start) }
    }

    private mutating func rejectTime(_ offset: Int) {
        let detail = "\"time\" must be an RFC 3339 time such as \"2026-11-23T08:31:00.123Z\""
        reject(at: offset, "invalid_time", detail)
    }

    private mutating func parseSpecVersion() throws(JSONFault) {
        let known = batch.faults.count
        let start = scanner.position
        guard let text = try attribute("specversion", limit: EventLimits.text) else {
            if batch.faults.count > known { draft.faulty.insert(.specVersion) }
            return
        }
        draft.hasSpecVersion = true
        if !scanner.matches(text, "1.0") {
            reject(at: start, "unsupported_specversion", "\"specversion\" must be \"1.0\"")
        }
    }

    private mutating func parseContentType() throws(JSONFault) {
        let start = scanner.position
        guard let text = try attribute("datacontenttype", limit: EventLimits.text) else { return }
        if !Self.isJSON(contentType: scanner.string(text)) {
            let detail = "\"datacontenttype\" must be a JSON media type such as \"application/json\""
            reject(at: start, "unsupported_datacontenttype", detail)
        }
    }

    /// CloudEvents JSON format 1.0.2, section 3.1: subtype `json`, or a subtype that ends with `+json`.
    static func isJSON(contentType: String) -> Bool {
        let mediaType = contentType.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
        let parts = mediaType.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else { return false }
        return parts[1] == "json" || parts[1].hasSuffix("+json")
    }

    mutating func checkRequired() {
        func detail(_ name: String, _ why: String) -> String { "\"\(name)\" is required and must not be empty: \(why)" }
        if draft.id == nil, !draft.faulty.contains(.id) {
            reject(attribute: "id", "missing_id", detail("id", "with \"source\" it identifies the event"))
        }
        if draft.source == nil, !draft.faulty.contains(.source) {
            reject(attribute: "source", "missing_source", detail("source", "with \"id\" it identifies the event"))
        }
        if draft.type == nil, !draft.faulty.contains(.type) {
            reject(attribute: "type", "missing_type", detail("type", "it says which meters count the event"))
        }
        if draft.subject == nil, !draft.faulty.contains(.subject) {
            reject(attribute: "subject", "missing_subject", detail("subject", "it names the tenant"))
        }
        if requiresSpecVersion, !draft.hasSpecVersion, !draft.faulty.contains(.specVersion) {
            let why = "the CloudEvents media types need it; send \"1.0\""
            reject(attribute: "specversion", "missing_specversion", detail("specversion", why))
        }
    }
}

/// The top-level names of an event.
enum EventAttribute {
    case id, source, type, subject, time, data
    case specVersion, dataContentType, dataSchema, dataBase64
    case extensionName, other

    /// Those that say something of a call for which it is asked now.
    static let names = ["data", "datacontenttype", "dataschema", "id", "source", "specversion", "subject", "type"]

    init(_ name: UnsafeRawBufferPointer) {
        func has(_ word: StaticString) -> Bool { JSONScanner.equal(name, word) }
        let known: EventAttribute? =
            switch name.count {
            case 2: has("id") ? .id : nil
            case 4: has("type") ? .type : has("time") ? .time : has("data") ? .data : nil
            case 6: has("source") ? .source : nil
            case 7: has("subject") ? .subject : nil
            case 10: has("dataschema") ? .dataSchema : nil
            case 11: has("specversion") ? .specVersion : has("data_base64") ? .dataBase64 : nil
            case 15: has("datacontenttype") ? .dataContentType : nil
            default: nil
            }
        self = known ?? (Self.isExtensionName(name) ? .extensionName : .other)
    }

    static func isExtensionName(_ name: UnsafeRawBufferPointer) -> Bool {
        !name.isEmpty && name.count <= EventLimits.text
            && name.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            }
    }
}
