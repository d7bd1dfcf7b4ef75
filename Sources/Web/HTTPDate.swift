import BillingCore
import Synchronization

/// The present as `Date` says it (IMF-fixdate, RFC 9110 section 5.6.7), written once a second.
enum HTTPDate {
    private static let latest = Mutex<(second: Int64, text: String)>((.min, ""))

    static var now: String {
        let second = Clock.system.now().microseconds / 1_000_000
        return latest.withLock { latest in
            if latest.second != second { latest = (second, text(secondsSince1970: second)) }
            return latest.text
        }
    }

    static func text(secondsSince1970 seconds: Int64) -> String {
        let days = seconds / 86_400
        let date = CivilDate(daysSince1970: days)
        let weekday = weekdays[Int(days % 7)]
        let time = [seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60].map(twoDigits).joined(separator: ":")
        return "\(weekday), \(twoDigits(date.day)) \(months[Int(date.month) - 1]) \(date.year) \(time) GMT"
    }

    /// From the day of 1970-01-01.
    private static let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static func twoDigits(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
