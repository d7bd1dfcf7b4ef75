/// Writes the text of a decimal from its last digit to its first, on the stack.
struct DecimalWriter {
    private let buffer: UnsafeMutableRawBufferPointer
    private var start: Int

    private init(_ buffer: UnsafeMutableRawBufferPointer) {
        self.buffer = buffer
        start = buffer.count
    }

    static let textBytes = 96

    /// The text that the body writes: at most `textBytes` bytes.
    static func text(_ body: (inout DecimalWriter) -> Void) -> String {
        withUnsafeTemporaryAllocation(byteCount: textBytes, alignment: 1) { buffer in
            var writer = DecimalWriter(buffer)
            body(&writer)
            return String(decoding: UnsafeRawBufferPointer(rebasing: buffer[writer.start...]), as: UTF8.self)
        }
    }

    /// Puts the text that the body writes at the start of a buffer of at least `textBytes` bytes.
    /// - Returns: its length.
    static func write(to buffer: UnsafeMutableRawBufferPointer, _ body: (inout DecimalWriter) -> Void) -> Int {
        var writer = DecimalWriter(buffer)
        body(&writer)
        let text = UnsafeRawBufferPointer(rebasing: buffer[writer.start...])
        buffer.copyMemory(from: text)
        return text.count
    }

    private mutating func put(_ byte: UInt8) {
        start -= 1
        buffer[start] = byte
    }

    private mutating func putDigits(_ value: UInt64, width: Int) {
        var value = value
        for _ in 0..<width {
            put(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value % 10))
            value /= 10
        }
    }

    /// Twelve fractional digits. Trailing zeros beyond the minimum are left out as long as no digit follows them.
    mutating func putFraction(_ group: UInt64, minimumDigits: Int = 0) {
        var group = group
        var width = 12
        if start == buffer.count {
            while width > max(minimumDigits, 0), group % 10 == 0 {
                group /= 10
                width -= 1
            }
        }
        putDigits(group, width: width)
    }

    /// The decimal point, unless there is no fraction.
    mutating func putPoint() {
        if start < buffer.count { put(UInt8(ascii: ".")) }
    }

    /// Eighteen digits of the integer, which more significant ones precede.
    mutating func putInnerInteger(_ group: UInt64) {
        putDigits(group, width: 18)
    }

    /// The most significant digits of the integer, then the sign.
    mutating func putLeadingInteger(_ group: UInt64, isNegative: Bool) {
        var group = group
        repeat {
            put(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: group % 10))
            group /= 10
        } while group > 0
        if isNegative { put(UInt8(ascii: "-")) }
    }
}
