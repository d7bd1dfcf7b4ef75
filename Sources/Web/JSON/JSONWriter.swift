package import BillingCore
package import NIOCore

/// Writes JSON straight into bytes, for answers that are made many thousand times a second; the others go through
/// `JSONValue.init(encoding:)` and look the same: an absent value is `null`, decimals, instants and identifiers are
/// strings. The caller names members in snake case and in alphabetical order.
package struct JSONWriter: ~Copyable {
    private var storage: UnsafeMutableRawBufferPointer
    private var count = 0
    private var isFirst = true

    package init(reserving capacity: Int = 1_024) {
        storage = .allocate(byteCount: capacity, alignment: 1)
    }

    deinit {
        storage.deallocate()
    }

    /// What has been written.
    package var buffer: ByteBuffer { ByteBuffer(bytes: UnsafeRawBufferPointer(rebasing: storage[..<count])) }

    /// What has been written, as text.
    package var text: String { String(decoding: storage[..<count], as: UTF8.self) }

    package mutating func object(_ members: (inout JSONWriter) -> Void) {
        separate()
        enclosed(UInt8(ascii: "{"), UInt8(ascii: "}"), members)
    }

    package mutating func object(_ name: StaticString, _ members: (inout JSONWriter) -> Void) {
        self.name(name)
        enclosed(UInt8(ascii: "{"), UInt8(ascii: "}"), members)
    }

    package mutating func array(_ elements: (inout JSONWriter) -> Void) {
        separate()
        enclosed(UInt8(ascii: "["), UInt8(ascii: "]"), elements)
    }

    package mutating func array<Element>(
        _ name: StaticString,
        _ elements: [Element],
        _ write: (inout JSONWriter, Element) -> Void
    ) {
        self.name(name)
        enclosed(UInt8(ascii: "["), UInt8(ascii: "]")) { writer in
            for element in elements { write(&writer, element) }
        }
    }

    package mutating func member(_ name: StaticString, _ text: String?) {
        self.name(name)
        guard let text else { return raw("null") }
        string(text)
    }

    package mutating func member(_ name: StaticString, _ flag: Bool) {
        self.name(name)
        raw(flag ? "true" : "false")
    }

    package mutating func member(_ name: StaticString, _ number: Int64?) {
        self.name(name)
        guard let number else { return raw("null") }
        self.number(number)
    }

    package mutating func member(
        _ name: StaticString,
        _ amount: FixedDecimal?,
        minimumFractionalDigits: Int = 0
    ) {
        self.name(name)
        guard let amount else { return raw("null") }
        decimal(amount, minimumFractionalDigits)
    }

    package mutating func member(_ name: StaticString, _ time: Instant?) {
        self.name(name)
        guard let time else { return raw("null") }
        instant(time)
    }

    package mutating func member(_ name: StaticString, _ id: (some UUIDIdentifier)?) {
        self.name(name)
        guard let id else { return raw("null") }
        string(id.rawValue.description)
    }

    package mutating func null(_ name: StaticString) {
        self.name(name)
        raw("null")
    }

    package mutating func element(_ text: String) {
        separate()
        string(text)
    }

    package mutating func element(_ number: Int64) {
        separate()
        self.number(number)
    }

    package mutating func element(_ amount: FixedDecimal) {
        separate()
        decimal(amount)
    }

    package mutating func element(_ time: Instant) {
        separate()
        instant(time)
    }

    private mutating func number(_ number: Int64) {
        var text = String(number)
        text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
    }

    private mutating func decimal(_ amount: FixedDecimal, _ minimumFractionalDigits: Int = 0) {
        reserve(FixedDecimal.textBytes + 2)
        store(UInt8(ascii: "\""))
        let room = storage[count..<(count + FixedDecimal.textBytes)]
        count += amount.write(
            to: UnsafeMutableRawBufferPointer(rebasing: room),
            minimumFractionalDigits: minimumFractionalDigits
        )
        store(UInt8(ascii: "\""))
    }

    private mutating func instant(_ time: Instant) {
        reserve(Instant.textBytes + 2)
        store(UInt8(ascii: "\""))
        count += time.write(to: UnsafeMutableRawBufferPointer(rebasing: storage[count...]))
        store(UInt8(ascii: "\""))
    }

    private mutating func string(_ text: String) {
        var text = text
        let isPlain = text.withUTF8 { bytes in
            for byte in bytes where !JSONValue.isPlain(byte) { return false }
            putQuoted(UnsafeRawBufferPointer(bytes))
            return true
        }
        guard !isPlain else { return }
        var escaped: [UInt8] = []
        JSONValue.writeString(text, to: &escaped)
        escaped.withUnsafeBytes { put($0) }
    }

    private mutating func name(_ name: StaticString) {
        reserve(name.utf8CodeUnitCount + 4)
        separate()
        store(UInt8(ascii: "\""))
        name.withUTF8Buffer { store(UnsafeRawBufferPointer($0)) }
        store(UInt8(ascii: "\""))
        store(UInt8(ascii: ":"))
    }

    private mutating func separate() {
        if !isFirst { put(UInt8(ascii: ",")) }
        isFirst = false
    }

    private mutating func enclosed(_ start: UInt8, _ end: UInt8, _ content: (inout JSONWriter) -> Void) {
        put(start)
        isFirst = true
        content(&self)
        put(end)
        isFirst = false
    }

    private mutating func raw(_ text: StaticString) {
        text.withUTF8Buffer { put(UnsafeRawBufferPointer($0)) }
    }

    private mutating func putQuoted(_ bytes: UnsafeRawBufferPointer) {
        reserve(bytes.count + 2)
        store(UInt8(ascii: "\""))
        store(bytes)
        store(UInt8(ascii: "\""))
    }

    private mutating func put(_ byte: UInt8) {
        reserve(1)
        store(byte)
    }

    private mutating func put(_ bytes: UnsafeRawBufferPointer) {
        reserve(bytes.count)
        store(bytes)
    }

    /// The room is reserved, as for the next.
    private mutating func store(_ byte: UInt8) {
        storage[count] = byte
        count += 1
    }

    private mutating func store(_ bytes: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: storage[count...]).copyMemory(from: bytes)
        count += bytes.count
    }

    private mutating func reserve(_ more: Int) {
        guard count + more > storage.count else { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * (count + more), alignment: 1)
        larger.copyBytes(from: storage[..<count])
        storage.deallocate()
        storage = larger
    }
}
