/// A date of the proleptic Gregorian calendar, without a time zone.
///
/// The conversions are the era-based ones of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
@usableFromInline
package struct CivilDate: Sendable, Hashable {
    @usableFromInline package let year: Int64
    @usableFromInline package let month: Int64
    @usableFromInline package let day: Int64

    @inlinable
    package init(year: Int64, month: Int64, day: Int64) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// The date so many days after 1970-01-01.
    @inlinable
    package init(daysSince1970 days: Int64) {
        let shifted = days &+ 719_468
        let era = (shifted >= 0 ? shifted : shifted &- 146_096) / 146_097
        let dayOfEra = shifted &- era &* 146_097
        let yearOfEra = (dayOfEra &- dayOfEra / 1_460 &+ dayOfEra / 36_524 &- dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra &- (365 &* yearOfEra &+ yearOfEra / 4 &- yearOfEra / 100)
        let shiftedMonth = (5 &* dayOfYear &+ 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth &+ 3 : shiftedMonth &- 9
        self.init(
            year: yearOfEra &+ era &* 400 &+ (month <= 2 ? 1 : 0),
            month: month,
            day: dayOfYear &- (153 &* shiftedMonth &+ 2) / 5 &+ 1
        )
    }

    /// Days after 1970-01-01. The day may exceed the month's length; it then counts on into the next.
    @inlinable
    package var daysSince1970: Int64 {
        let shiftedYear = month <= 2 ? year &- 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear &- 399) / 400
        let yearOfEra = shiftedYear &- era &* 400
        let shiftedMonth = month > 2 ? month &- 3 : month &+ 9
        let dayOfYear = (153 &* shiftedMonth &+ 2) / 5 &+ day &- 1
        let dayOfEra = yearOfEra &* 365 &+ yearOfEra / 4 &- yearOfEra / 100 &+ dayOfYear
        return era &* 146_097 &+ dayOfEra &- 719_468
    }

    /// The number of days in a month (1...12) of a year.
    @inlinable
    package static func length(ofMonth month: Int64, year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// The date so many months later, the day clamped to that month's length.
    package func adding(months: Int64) -> CivilDate {
        let total = year &* 12 &+ (month &- 1) &+ months
        let newYear = total.flooredQuotient(dividingBy: 12)
        let newMonth = total &- newYear &* 12 &+ 1
        return CivilDate(year: newYear, month: newMonth, day: min(day, Self.length(ofMonth: newMonth, year: newYear)))
    }
}

extension CivilDate {
    /// The date at an instant, in UTC.
    package init(at instant: Instant) {
        self.init(daysSince1970: instant.microseconds.flooredQuotient(dividingBy: 86_400_000_000))
    }
}

extension Int64 {
    /// The quotient rounded toward negative infinity. The divisor must be positive.
    @inlinable
    func flooredQuotient(dividingBy divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient &- 1 : quotient
    }
}
