/// Why a text is not an instant. The description is meant for the sender of the text.
@usableFromInline
package enum InstantError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Not of the form `2026-11-23T08:31:00.123Z` or with an offset such as `+01:00`.
    case malformed
    /// No such month or day.
    case invalidDate
    /// No such time of day, or a leap second that is not at the end of a UTC day.
    case invalidTime
    /// The offset's hours exceed 23 or its minutes 59.
    case invalidOffset
    /// Before the year 0001 or after the year 9999 in UTC.
    case outOfRange

    @usableFromInline
    package var description: String {
        switch self {
        case .malformed: "must be an RFC 3339 timestamp such as 2026-11-23T08:31:00.123Z"
        case .invalidDate: "has a month or day that does not exist"
        case .invalidTime: "has a time of day that does not exist"
        case .invalidOffset: "has an offset beyond 23:59"
        case .outOfRange: "must lie within the years 0001 to 9999"
        }
    }
}

extension Instant {
    /// Reads RFC 3339, section 5.6, from text; see `init(parsing:)` over bytes.
    package init(parsing text: String) throws(InstantError) {
        var text = text
        let result = text.withUTF8 { bytes in
            Result { () throws(InstantError) in try Instant(parsing: UnsafeRawBufferPointer(bytes)) }
        }
        self = try result.get()
    }

    /// Reads RFC 3339, section 5.6, with any offset; `T` may be `t` or a space, `Z` may be `z`.
    ///
    /// A leap second (`:60`, at the end of a UTC day) is the next second. Digits beyond microseconds are cut off. It
    /// allocates nothing.
    @inlinable
    package init(parsing utf8: UnsafeRawBufferPointer) throws(InstantError) {
        guard utf8.count >= 20,
            utf8[4] == UInt8(ascii: "-"), utf8[7] == UInt8(ascii: "-"),
            utf8[10] | 0x20 == UInt8(ascii: "t") || utf8[10] == UInt8(ascii: " "),
            utf8[13] == UInt8(ascii: ":"), utf8[16] == UInt8(ascii: ":")
        else { throw .malformed }
        let century = Self.twoDigits(utf8, 0)
        let yearOfCentury = Self.twoDigits(utf8, 2)
        let month = Self.twoDigits(utf8, 5)
        let day = Self.twoDigits(utf8, 8)
        let hour = Self.twoDigits(utf8, 11)
        let minute = Self.twoDigits(utf8, 14)
        let second = Self.twoDigits(utf8, 17)
        guard century | yearOfCentury | month | day | hour | minute | second >= 0 else { throw .malformed }

        var index = 19
        let fraction = try Self.fraction(utf8, &index)
        let offset = try Self.offsetSeconds(utf8, index)

        let year = century &* 100 &+ yearOfCentury
        guard month >= 1, month <= 12, day >= 1, day <= CivilDate.length(ofMonth: month, year: year) else {
            throw .invalidDate
        }
        guard hour <= 23, minute <= 59, second <= 60 else { throw .invalidTime }
        let days = CivilDate(year: year, month: month, day: day).daysSince1970
        let seconds = days &* 86_400 &+ hour &* 3_600 &+ minute &* 60 &+ second &- offset
        guard second < 60 || seconds % 86_400 == 0 else { throw .invalidTime }
        let microseconds = seconds &* 1_000_000 &+ fraction
        guard microseconds >= Self.minimumMicroseconds, microseconds <= Self.maximumMicroseconds, year > 0 else {
            throw .outOfRange
        }
        self.microseconds = microseconds
    }

    /// The two digits at an index as a number, or a negative number when they are not digits.
    @inlinable
    static func twoDigits(_ utf8: UnsafeRawBufferPointer, _ index: Int) -> Int64 {
        let tens = utf8[index] &- UInt8(ascii: "0")
        let ones = utf8[index &+ 1] &- UInt8(ascii: "0")
        guard tens <= 9, ones <= 9 else { return -1 }
        return Int64(truncatingIfNeeded: tens) &* 10 &+ Int64(truncatingIfNeeded: ones)
    }

    /// The microseconds of an optional fraction at an index, which is moved behind it.
    @inlinable
    static func fraction(_ utf8: UnsafeRawBufferPointer, _ index: inout Int) throws(InstantError) -> Int64 {
        guard utf8[index] == UInt8(ascii: ".") else { return 0 }
        index &+= 1
        let start = index
        var microseconds: Int64 = 0
        var unit: Int64 = 100_000
        while index < utf8.count {
            let digit = utf8[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            microseconds &+= Int64(truncatingIfNeeded: digit) &* unit
            unit /= 10
            index &+= 1
        }
        guard index > start else { throw .malformed }
        return microseconds
    }

    /// The offset from an index to the end of the text, in seconds east of UTC.
    @inlinable
    static func offsetSeconds(_ utf8: UnsafeRawBufferPointer, _ index: Int) throws(InstantError) -> Int64 {
        guard index < utf8.count else { throw .malformed }
        let sign = utf8[index]
        if sign | 0x20 == UInt8(ascii: "z") {
            guard index &+ 1 == utf8.count else { throw .malformed }
            return 0
        }
        guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"), utf8.count &- index == 6,
            utf8[index &+ 3] == UInt8(ascii: ":")
        else { throw .malformed }
        let hours = twoDigits(utf8, index &+ 1)
        let minutes = twoDigits(utf8, index &+ 4)
        guard hours | minutes >= 0 else { throw .malformed }
        guard hours <= 23, minutes <= 59 else { throw .invalidOffset }
        let seconds = hours &* 3_600 &+ minutes &* 60
        return sign == UInt8(ascii: "-") ? 0 &- seconds : seconds
    }
}
