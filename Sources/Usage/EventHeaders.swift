internal import Web

/// CloudEvents HTTP binary mode (HTTP protocol binding 1.0.2, section 3.1): the attributes in `ce-` headers, the data
/// in the body.
extension EventDecoder {
    /// Whether the headers are those of an event in binary mode.
    package static func isBinaryMode(headerNames: some Sequence<String>) -> Bool {
        headerNames.contains { $0.lowercased() == "ce-specversion" || $0.lowercased() == "ce-id" }
    }

    /// Decodes the one event that the headers and the body make. Headers without the prefix `ce-` are ignored.
    package func decode(
        headers: some Sequence<(name: String, value: String)>,
        contentType: String?,
        body: UnsafeRawBufferPointer
    ) -> DecodedBatch {
        var envelope = Array("{".utf8)
        var faults: [EventFault] = []
        var names: Set<String> = []
        for header in headers {
            let name = header.name.lowercased()
            guard name.hasPrefix("ce-") else { continue }
            let attribute = String(name.dropFirst(3))
            if let fault = Self.append(attribute, header.value, to: &envelope, names: &names) {
                faults.append(fault)
            }
        }
        if let contentType {
            Self.append(name: "datacontenttype", value: contentType, to: &envelope)
        }
        if !faults.isEmpty {
            var batch = DecodedBatch()
            batch.count = 1
            batch.faults = faults
            return batch
        }
        return decode(envelope, data: body)
    }

    /// The body is checked on its own first, so that no body can add attributes to the envelope that it completes.
    private func decode(_ attributes: [UInt8], data: UnsafeRawBufferPointer) -> DecodedBatch {
        var envelope = attributes
        var scanner = JSONScanner(data)
        scanner.skipWhitespace()
        if scanner.position < data.count {
            do throws(JSONFault) {
                try scanner.skipValue()
                try scanner.finish()
            } catch {
                let fault = error.located(in: data)
                let located = JSONFault(offset: fault.offset, reason: fault.reason, pointer: "/data" + fault.pointer)
                return Self.failed(Self.malformed(located))
            }
            if envelope.count > 1 { envelope.append(UInt8(ascii: ",")) }
            envelope.append(contentsOf: "\"data\":".utf8)
            envelope.append(contentsOf: data)
        }
        envelope.append(UInt8(ascii: "}"))
        return decode(envelope, as: .structured)
    }

    private static func append(
        _ attribute: String,
        _ value: String,
        to envelope: inout [UInt8],
        names: inout Set<String>
    ) -> EventFault? {
        func fault(_ code: String, _ detail: String) -> EventFault {
            let pointer = JSONPointer.appending(attribute, to: "")
            return EventFault(
                index: 0,
                pointer: pointer,
                code: code,
                detail: "the header \"ce-\(attribute)\" \(detail)"
            )
        }
        let isName = Array(attribute.utf8).withUnsafeBytes { EventAttribute.isExtensionName($0) }
        guard isName, attribute != "data", attribute != "datacontenttype" else {
            return fault("unknown_attribute", "is none of a CloudEvent in binary mode")
        }
        guard names.insert(attribute).inserted else {
            return fault("duplicate_attribute", "is there more than once")
        }
        guard let text = unescaped(value) else {
            return fault("invalid_attribute", "must be percent-encoded UTF-8 without control characters")
        }
        append(name: attribute, value: text, to: &envelope)
        return nil
    }

    private static func append(name: String, value: String, to envelope: inout [UInt8]) {
        if envelope.count > 1 { envelope.append(UInt8(ascii: ",")) }
        JSONValue.writeString(name, to: &envelope)
        envelope.append(UInt8(ascii: ":"))
        JSONValue.writeString(value, to: &envelope)
    }

    /// Section 3.1.3.2: double quotes and backslashes first, then one round of percent-decoding; nil for what is not
    /// UTF-8, holds control characters, or has a percent sign without two hexadecimal digits.
    static func unescaped(_ value: String) -> String? {
        let encoded = unquoted(Array(value.utf8))
        var bytes: [UInt8] = []
        var index = 0
        while index < encoded.count {
            guard encoded[index] == UInt8(ascii: "%") else {
                bytes.append(encoded[index])
                index += 1
                continue
            }
            guard index + 2 < encoded.count, let high = hexadecimal(encoded[index + 1]),
                let low = hexadecimal(encoded[index + 2])
            else { return nil }
            bytes.append(high << 4 | low)
            index += 3
        }
        guard !bytes.withUnsafeBytes({ EventParser.hasControlCharacters($0) }) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func unquoted(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var isQuoted = false
        var isEscaped = false
        for byte in bytes {
            if isEscaped {
                result.append(byte)
                isEscaped = false
            } else if byte == UInt8(ascii: "\"") {
                isQuoted.toggle()
            } else if isQuoted, byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else {
                result.append(byte)
            }
        }
        return result
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
