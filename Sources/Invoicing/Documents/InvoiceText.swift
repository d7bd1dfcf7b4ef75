package import BillingCore

/// Numbers and dates as people read them on paper, in English and the same on every machine.
package enum InvoiceText {
    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]

    /// A decimal text with its whole digits in groups of three: `-1,234.50`. What is no decimal stays as it is.
    package static func grouped(_ decimal: String) -> String {
        let sign = decimal.hasPrefix("-") ? "-" : ""
        let unsigned = decimal.dropFirst(sign.count)
        let whole = unsigned.prefix { $0 != "." }
        guard !whole.isEmpty, whole.utf8.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains) else {
            return decimal
        }
        var text = sign
        for (index, digit) in whole.enumerated() {
            if index > 0, (whole.count - index).isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return text + unsigned.dropFirst(whole.count)
    }

    /// An amount of a unit: `1 event`, `1,200 tokens`, `3 GB`. Only a unit that is an English word takes the plural.
    package static func counted(_ quantity: String, _ unit: String) -> String {
        guard !unit.isEmpty else { return grouped(quantity) }
        return "\(grouped(quantity)) \(quantity == "1" ? unit : plural(of: unit))"
    }

    private static func plural(of unit: String) -> String {
        let letters = unit.utf8.reversed().prefix { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }
        guard letters.count > 2, unit.last != "s" else { return unit }
        let endings = ["x", "z", "ch", "sh"]
        if endings.contains(where: unit.hasSuffix) { return unit + "es" }
        if unit.last == "y", let before = unit.dropLast().last, !"aeiou".contains(before) {
            return unit.dropLast() + "ies"
        }
        return unit + "s"
    }

    /// The local calendar date of an instant: `1 December 2026`.
    package static func date(_ instant: Instant, in zone: Zone) -> String {
        let date = zone.localDate(at: instant)
        return "\(date.day) \(months[Int(date.month) - 1]) \(date.year)"
    }

    /// From and to, `1 Nov 2026 - 1 Dec 2026`; the last day is not part of it.
    package static func dates(_ interval: Interval, in zone: Zone) -> String {
        [interval.start, interval.end].map { instant in
            let date = zone.localDate(at: instant)
            return "\(date.day) \(months[Int(date.month) - 1].prefix(3)) \(date.year)"
        }.joined(separator: " - ")
    }

    /// ISO 8601 to the second, as the metadata of a file has it.
    package static func wholeSeconds(_ instant: Instant) -> String {
        String(instant.description.prefix(19)) + "Z"
    }
}
