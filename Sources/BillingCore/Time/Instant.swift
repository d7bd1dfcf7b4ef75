/// A point in time: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// It always lies within the years 0001...9999 (UTC), which RFC 3339 can write: values beyond are moved to the nearest
/// end, so that arithmetic on instants is total.
@usableFromInline
package struct Instant: Sendable, Hashable {
    /// Microseconds since 1970-01-01T00:00:00Z.
    @usableFromInline package let microseconds: Int64

    /// Microseconds since 1970, moved into `minimum...maximum` where beyond.
    @inlinable
    package init(microseconds: Int64) {
        self.microseconds = min(max(microseconds, Self.minimumMicroseconds), Self.maximumMicroseconds)
    }

    /// Seconds since 1970, moved into `minimum...maximum` where beyond.
    @inlinable
    package init(seconds: Int64) {
        let (microseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        self.init(microseconds: overflow ? (seconds < 0 ? .min : .max) : microseconds)
    }

    /// 0001-01-01T00:00:00Z
    package static let minimum = Instant(microseconds: minimumMicroseconds)
    /// 9999-12-31T23:59:59.999999Z
    package static let maximum = Instant(microseconds: maximumMicroseconds)

    @inlinable static var minimumMicroseconds: Int64 { -62_135_596_800_000_000 }
    @inlinable static var maximumMicroseconds: Int64 { 253_402_300_799_999_999 }
}

extension Instant: Comparable {
    @inlinable
    package static func < (left: Instant, right: Instant) -> Bool {
        left.microseconds < right.microseconds
    }
}

extension Instant {
    /// The instant so much later (earlier when negative), moved into `minimum...maximum` where beyond.
    @inlinable
    package func adding(microseconds delta: Int64) -> Instant {
        let (sum, overflow) = microseconds.addingReportingOverflow(delta)
        return Instant(microseconds: overflow ? (delta < 0 ? .min : .max) : sum)
    }

    /// The instant so much later (earlier when negative), moved into `minimum...maximum` where beyond.
    @inlinable
    package func adding(seconds: Int64) -> Instant {
        let (delta, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        return adding(microseconds: overflow ? (seconds < 0 ? .min : .max) : delta)
    }

    /// Microseconds from another instant to this one; negative when this one is earlier.
    @inlinable
    package func microseconds(since other: Instant) -> Int64 {
        microseconds &- other.microseconds
    }
}

extension Instant: CustomStringConvertible {
    /// RFC 3339 in UTC with six fractional digits: `2026-11-23T08:31:00.123000Z`.
    @usableFromInline
    package var description: String {
        String(unsafeUninitializedCapacity: Self.textBytes) { write(to: UnsafeMutableRawBufferPointer($0)) }
    }

    package static let textBytes = 27

    /// Writes the bytes of `description` to the start of a buffer that has room for them.
    /// - Returns: `textBytes`.
    package func write(to bytes: UnsafeMutableRawBufferPointer) -> Int {
        let seconds = microseconds.flooredQuotient(dividingBy: 1_000_000)
        let days = seconds.flooredQuotient(dividingBy: 86_400)
        let date = CivilDate(daysSince1970: days)
        let secondOfDay = seconds - days * 86_400
        func put(_ value: Int64, digits: Int, at start: Int, then separator: UInt8) {
            var value = value
            for index in stride(from: start + digits - 1, through: start, by: -1) {
                bytes[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value % 10)
                value /= 10
            }
            bytes[start + digits] = separator
        }
        put(date.year, digits: 4, at: 0, then: UInt8(ascii: "-"))
        put(date.month, digits: 2, at: 5, then: UInt8(ascii: "-"))
        put(date.day, digits: 2, at: 8, then: UInt8(ascii: "T"))
        put(secondOfDay / 3_600, digits: 2, at: 11, then: UInt8(ascii: ":"))
        put(secondOfDay / 60 % 60, digits: 2, at: 14, then: UInt8(ascii: ":"))
        put(secondOfDay % 60, digits: 2, at: 17, then: UInt8(ascii: "."))
        put(microseconds - seconds * 1_000_000, digits: 6, at: 20, then: UInt8(ascii: "Z"))
        return Self.textBytes
    }
}
