import TestSupport

/// Makes small JSON documents, good and broken, from a seed.
struct JSONDocumentGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    /// SeededGenerator (Steele, Lea, Flood 2014).
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    mutating func below(_ bound: Int) -> Int {
        Int(next() % UInt64(bound))
    }

    mutating func chance(_ percent: Int) -> Bool {
        below(100) < percent
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[below(elements.count)]
    }

    mutating func document() -> [UInt8] {
        var bytes: [UInt8] = []
        if chance(1) {
            let depth = pick([5, 63, 64, 65, 100])
            let opening = pick(["[", "{\"a\":"])
            bytes += Array(String(repeating: opening, count: depth).utf8)
            value(depth: 3, &bytes)
            bytes += Array(String(repeating: opening == "[" ? "]" : "}", count: depth).utf8)
        } else {
            value(depth: 0, &bytes)
        }
        return bytes
    }

    /// The document with one to three small accidents.
    mutating func mutated(_ document: [UInt8]) -> [UInt8] {
        var bytes = document
        for _ in 0...below(3) where !bytes.isEmpty {
            let index = below(bytes.count)
            switch below(6) {
            case 0: bytes.removeLast(bytes.count - index)
            case 1: bytes.remove(at: index)
            case 2: bytes[index] = UInt8(truncatingIfNeeded: next())
            case 3: bytes[index] ^= 1 << UInt8(below(8))
            case 4: bytes.insert(pick(Array("{}[]:,\"\\/eE+-.0123456789untrfals \t\u{1}".utf8)), at: index)
            default: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 1 + below(8))], at: index)
            }
        }
        return bytes
    }

    private mutating func value(depth: Int, _ bytes: inout [UInt8]) {
        space(&bytes)
        switch below(depth > 2 ? 6 : 9) {
        case 0: bytes += Array(pick(["true", "false", "null"]).utf8)
        case 1, 2, 3: number(&bytes)
        case 4, 5: string(&bytes)
        case 6: array(depth: depth, &bytes)
        default: object(depth: depth, &bytes)
        }
        space(&bytes)
    }

    private mutating func array(depth: Int, _ bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "["))
        for index in 0..<below(4) {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            value(depth: depth + 1, &bytes)
        }
        space(&bytes)
        bytes.append(UInt8(ascii: "]"))
    }

    private mutating func object(depth: Int, _ bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "{"))
        for index in 0..<below(chance(2) ? 30 : 4) {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            space(&bytes)
            if chance(96) {
                bytes += Array("\"k\(index)".utf8)
                bytes.append(UInt8(ascii: "\""))
            } else {
                string(&bytes)
            }
            space(&bytes)
            bytes.append(UInt8(ascii: ":"))
            value(depth: depth + 1, &bytes)
        }
        space(&bytes)
        bytes.append(UInt8(ascii: "}"))
    }

    private mutating func space(_ bytes: inout [UInt8]) {
        if chance(10) { bytes += Array(pick([" ", "\n", "\t", "\r", "  "]).utf8) }
    }

    private mutating func number(_ bytes: inout [UInt8]) {
        if chance(2) {
            let digits = String(repeating: "1", count: pick([20, 40, 399, 400, 401]))
            return bytes += Array((chance(50) ? digits : "0." + digits.dropFirst(2)).utf8)
        }
        if chance(25) { bytes.append(UInt8(ascii: "-")) }
        let whole = pick(["0", "1", "12", "\(next() % 1_000_000)", "\(next())", "9007199254740993", "00", "01"])
        bytes += Array((chance(97) ? whole : "").utf8)
        if chance(30) { bytes += Array((chance(97) ? ".\(next() % 10000)" : ".").utf8) }
        if chance(20) {
            let exponent = pick([
                "0", "5", "12", "-7", "+3", "-300", "300", "400", "401", "-400", "-401", "99999999999", "",
            ])
            bytes += Array((pick(["e", "E"]) + exponent).utf8)
        }
    }

    private mutating func string(_ bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for _ in 0..<below(8) {
            switch below(14) {
            case 0: bytes += Array(pick(["\\n", "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\r", "\\t"]).utf8)
            case 1: bytes += Array(pick(["\\u0041", "\\u00e9", "\\u20AC", "\\uFFFF", "\\u001f", "\\u007f"]).utf8)
            case 2: bytes += Array("\\ud83d\\uDE00".utf8)
            case 3: bytes += Array(pick(["é", "€", "😀", "\u{7FF}", "\u{FFFF}", "\u{10FFFF}", "\u{80}"]).utf8)
            case 4: bytes += Array("plain text".utf8)
            case 5 where chance(8):
                bytes += Array(pick(["\\u0000", "\\ud800", "\\udc00x", "\\ud800\\u0041", "\\x"]).utf8)
            case 6 where chance(8):
                bytes += pick([
                    [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0x80],
                ])
            default: bytes += Array(pick(["a", "b", "key", " ", "0"]).utf8)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
