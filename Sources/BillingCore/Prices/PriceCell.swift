/// A combination of dimension values for which a matrix price counts and charges on its own.
package struct PriceCell: Sendable, Hashable {
    /// The combination's canonical text: a JSON object of dimension and value, its names in ascending order, without
    /// white space, whatever is not ASCII escaped. So texts are equal only where their bytes are.
    package let text: String

    /// How many bytes a value may take in the text, so that it fits the key of an index with 8 dimensions.
    package static let maximumValueBytes = 200

    /// - Parameters:
    ///   - dimensions: names in ascending order.
    ///   - values: the value of each; empty where an event has none.
    package init(dimensions: [String], values: [String]) {
        precondition(dimensions.count == values.count, "each dimension must have a value")
        var bytes: [UInt8] = [UInt8(ascii: "{")]
        for (name, value) in zip(dimensions, values) {
            if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
            Self.append(name, to: &bytes)
            bytes.append(UInt8(ascii: ":"))
            Self.append(value, to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
        text = String(decoding: bytes, as: UTF8.self)
    }

    /// How many bytes a value takes in the text, its quotes left out.
    package static func byteCount(of value: String) -> Int {
        var bytes: [UInt8] = []
        append(value, to: &bytes)
        return bytes.count - 2
    }

    private static func append(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for unit in text.utf16 {
            switch unit {
            case 0x22, 0x5C:
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(UInt8(truncatingIfNeeded: unit))
            case 0x20..<0x7F:
                bytes.append(UInt8(truncatingIfNeeded: unit))
            default:
                bytes.append(contentsOf: "\\u".utf8)
                for shift in [12, 8, 4, 0] {
                    let digit = UInt8(truncatingIfNeeded: unit >> UInt16(shift) & 0xF)
                    bytes.append(digit < 10 ? digit + UInt8(ascii: "0") : digit - 10 + UInt8(ascii: "a"))
                }
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
