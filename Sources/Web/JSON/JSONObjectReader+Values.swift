package import BillingCore

// MARK: Booleans, numbers, times

extension JSONObjectReader {
    package func bool(_ name: String, default fallback: Bool? = nil) -> Bool {
        guard let value = present(name) else {
            if fallback == nil { rejectMissing(name, "must be true or false") }
            return fallback ?? false
        }
        guard case .bool(let flag) = value else {
            reject(name, "invalid_type", "must be true or false, not \(value.kindName)")
            return fallback ?? false
        }
        return flag
    }

    /// A JSON integer. Without a default it is required; the lower bound stands in for a faulty one.
    package func integer<Integer: FixedWidthInteger>(
        _ name: String,
        in range: ClosedRange<Integer>,
        default fallback: Integer? = nil
    ) -> Integer {
        guard contains(name) || fallback != nil else {
            rejectMissing(name, "must be an integer from \(range.lowerBound) to \(range.upperBound)")
            return range.lowerBound
        }
        return optionalInteger(name, in: range) ?? fallback ?? range.lowerBound
    }

    package func optionalInteger<Integer: FixedWidthInteger>(
        _ name: String,
        in range: ClosedRange<Integer>
    ) -> Integer? {
        guard let value = present(name) else { return nil }
        let requirement = "must be an integer from \(range.lowerBound) to \(range.upperBound)"
        guard case .number(let text) = value else {
            reject(name, "invalid_type", "\(requirement), not \(value.kindName)")
            return nil
        }
        guard let wide = Self.integerValue(text), let integer = Integer(exactly: wide), range.contains(integer) else {
            reject(name, "out_of_range", "\(requirement), not \(text)")
            return nil
        }
        return integer
    }

    /// A decimal string. Without a default it is required; the minimum, or zero, stands in for a faulty one.
    package func decimal(
        _ name: String,
        minimum: FixedDecimal? = nil,
        maximum: FixedDecimal? = nil,
        default fallback: FixedDecimal? = nil
    ) -> FixedDecimal {
        guard contains(name) || fallback != nil else {
            rejectMissing(name, Self.decimalRequirement)
            return minimum ?? .zero
        }
        return optionalDecimal(name, minimum: minimum, maximum: maximum) ?? fallback ?? minimum ?? .zero
    }

    package func optionalDecimal(
        _ name: String,
        minimum: FixedDecimal? = nil,
        maximum: FixedDecimal? = nil
    ) -> FixedDecimal? {
        guard let value = present(name) else { return nil }
        guard case .string(let text) = value else {
            reject(name, "invalid_type", "\(Self.decimalRequirement), not \(value.kindName)")
            return nil
        }
        guard let decimal = decimalValue(name, text) else { return nil }
        if let minimum, decimal < minimum {
            reject(name, "out_of_range", "must be at least \"\(minimum)\"")
            return nil
        }
        if let maximum, decimal > maximum {
            reject(name, "out_of_range", "must be at most \"\(maximum)\"")
            return nil
        }
        return decimal
    }

    /// A required RFC 3339 time; the epoch stands in for a faulty one.
    package func instant(_ name: String) -> Instant {
        guard contains(name) else {
            rejectMissing(name, Self.instantRequirement)
            return Instant(microseconds: 0)
        }
        return optionalInstant(name) ?? Instant(microseconds: 0)
    }

    package func optionalInstant(_ name: String) -> Instant? {
        guard let value = present(name), let text = text(name, value) else { return nil }
        do {
            return try Instant(parsing: text)
        } catch {
            reject(name, "invalid_format", Self.instantRequirement)
            return nil
        }
    }

    private static let decimalRequirement = "must be a decimal string such as \"12.50\""
    private static let instantRequirement = "must be an RFC 3339 time such as \"2026-11-23T08:31:00Z\""

    private func decimalValue(_ name: String, _ text: String) -> FixedDecimal? {
        do {
            let decimal = try FixedDecimal(parsing: text)
            guard Self.number(text).map({ $0.exponent >= -12 }) ?? false else {
                reject(name, "out_of_range", "must have at most 12 digits after the decimal point")
                return nil
            }
            return decimal
        } catch {
            switch error {
            case .malformed: reject(name, "invalid_format", Self.decimalRequirement)
            case .outOfRange: reject(name, "out_of_range", "must be between -10^26 and 10^26")
            }
            return nil
        }
    }

    private static func integerValue(_ text: String) -> Int64? {
        number(text)?.integer
    }

    private static func number(_ text: String) -> JSONNumber? {
        Array(text.utf8).withUnsafeBytes { JSONNumber(whole: $0) }
    }
}

// MARK: Values of other types

extension JSONObjectReader {
    /// A required string that the closure makes a value of; nil, with a fault, when it is missing or does not fit.
    /// `expecting` completes the sentence "must be ...".
    package func value<T>(
        _ name: String,
        expecting: @autoclosure () -> String,
        _ parse: (String) throws -> T?
    ) -> T? {
        guard contains(name) else {
            rejectMissing(name, "must be \(expecting())")
            return nil
        }
        return optionalValue(name, expecting: expecting(), parse)
    }

    package func value<T>(
        _ name: String,
        default fallback: T,
        expecting: @autoclosure () -> String,
        _ parse: (String) throws -> T?
    ) -> T {
        optionalValue(name, expecting: expecting(), parse) ?? fallback
    }

    package func optionalValue<T>(
        _ name: String,
        expecting: @autoclosure () -> String,
        _ parse: (String) throws -> T?
    ) -> T? {
        guard let value = present(name), let text = text(name, value) else { return nil }
        guard let result = try? parse(text) else {
            reject(name, "invalid_value", "must be \(expecting())")
            return nil
        }
        return result
    }

    /// One of an enumeration's raw values. Without a default it is required.
    package func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String,
        of type: Choice.Type = Choice.self
    ) -> Choice? {
        value(name, expecting: Self.listed(type)) { Choice(rawValue: $0) }
    }

    package func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String,
        default fallback: Choice
    ) -> Choice {
        value(name, default: fallback, expecting: Self.listed(Choice.self)) { Choice(rawValue: $0) }
    }

    private static func listed<Choice: RawRepresentable<String> & CaseIterable>(_ type: Choice.Type) -> String {
        let quoted = type.allCases.map { "\"\($0.rawValue)\"" }
        return quoted.count == 1 ? quoted.joined() : "one of " + quoted.joined(separator: ", ")
    }
}
