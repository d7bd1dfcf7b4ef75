package import BillingCore
package import Postgres
package import Web

/// What a budget's scope can tell usage apart by. The names are those of the contract, in the order in which several
/// values of one row stand.
package enum ScopeDimension: String, Sendable, Hashable, CaseIterable {
    case tenant, provider, user, feature, model
    case costCenter = "cost_center"
    case client, plan
}

/// What a scope asks of one dimension. A dimension that the scope doesn't name is not asked for.
package enum ScopeMatch: Sendable, Hashable {
    /// `"*"`: any value, and each value has a row of its own.
    case each
    /// This value only.
    case exact(String)
    /// Every model whose name starts like this; all of them share one row.
    case pattern(ModelPattern)

    /// Whether usage with this value is within the scope.
    package func admits(_ value: String) -> Bool {
        switch self {
        case .each: true
        case .exact(let expected): value.hasSameBytes(as: expected)
        case .pattern(let pattern): pattern.matches(value)
        }
    }
}

/// What a budget counts, or a mitigation refuses: usage that every dimension it names admits. Usage without a value for
/// such a dimension is outside.
package struct BudgetScope: Sendable, Hashable {
    package var tenant: ScopeMatch?
    package var provider: ScopeMatch?
    package var user: ScopeMatch?
    package var feature: ScopeMatch?
    package var model: ScopeMatch?
    package var costCenter: ScopeMatch?
    package var client: ScopeMatch?
    package var plan: ScopeMatch?

    /// Everything the operator's tenants use.
    package init() {}

    package subscript(_ dimension: ScopeDimension) -> ScopeMatch? {
        get {
            switch dimension {
            case .tenant: tenant
            case .provider: provider
            case .user: user
            case .feature: feature
            case .model: model
            case .costCenter: costCenter
            case .client: client
            case .plan: plan
            }
        }
        set {
            switch dimension {
            case .tenant: tenant = newValue
            case .provider: provider = newValue
            case .user: user = newValue
            case .feature: feature = newValue
            case .model: model = newValue
            case .costCenter: costCenter = newValue
            case .client: client = newValue
            case .plan: plan = newValue
            }
        }
    }

    /// The value that a dimension has to have; nil for one that is not named or may have several.
    package func exact(_ dimension: ScopeDimension) -> String? {
        guard case .exact(let value) = self[dimension] else { return nil }
        return value
    }
}

// MARK: In place of another

extension BudgetScope {
    /// Whether this is one of the values that the other counts apart, or some of them: every row of the other is then
    /// either within this scope or outside. Of a call that feeds several features, one alone can't be taken out.
    package func overrides(_ other: BudgetScope) -> Bool {
        self != other
            && ScopeDimension.allCases.allSatisfy { dimension in
                if case .exact = self[dimension], other[dimension] == .each { return dimension != .feature }
                return self[dimension] == other[dimension]
            }
    }

    /// Whether a row of another budget, which this scope `overrides`, is within this one.
    /// - Parameters:
    ///   - values: of the dimensions that the other counts apart, but for the tenant.
    ///   - tenant: the key of the row's; nil where it is nobody's.
    package func includes(_ values: [ScopeDimension: String], tenant: String?) -> Bool {
        if let own = exact(.tenant), let tenant, !own.hasSameBytes(as: tenant) { return false }
        return values.allSatisfy { dimension, value in self[dimension]?.admits(value) ?? true }
    }
}

// MARK: Rows of "each value"

extension BudgetScope {
    /// The dimensions whose values have rows of their own within one tenant (or, without a tenant, over all of them).
    /// That `tenant` is one of `"*"` shows in `limit_state.tenant_id`.
    package var splitDimensions: [ScopeDimension] {
        ScopeDimension.allCases.filter { $0 != .tenant && self[$0] == .each }
    }

    /// `limit_state.scope_value` of the row for these values of `splitDimensions`, in that order: empty where nothing
    /// is split, one value as it is, several as a JSON array; so is one that starts like an array, or with the `#` that
    /// marks rows of another kind.
    package static func scopeValue(_ values: [String]) -> String {
        guard let first = values.first else { return "" }
        guard values.count > 1 || first.hasPrefix("[") || first.utf8.starts(with: "#".utf8) else { return first }
        return JSONValue.array(values.map(JSONValue.string)).text
    }

    /// The values that `scopeValue` made the text of; nil for a text that it makes for no values of this scope.
    package func values(inScopeValue text: String) -> [ScopeDimension: String]? {
        let dimensions = splitDimensions
        guard !dimensions.isEmpty else { return text.isEmpty ? [:] : nil }
        guard text.hasPrefix("[") else { return dimensions.count == 1 ? [dimensions[0]: text] : nil }
        guard case .array(let elements) = try? JSONValue(parsing: text), elements.count == dimensions.count else {
            return nil
        }
        var values: [ScopeDimension: String] = [:]
        for (dimension, element) in zip(dimensions, elements) {
            guard case .string(let value) = element else { return nil }
            values[dimension] = value
        }
        return values
    }
}

// MARK: As it is asked for, shown and stored

extension BudgetScope {
    /// Of the values that usage may have, in bytes of UTF-8.
    private static let longestValue = 256

    /// Reads the members of `scope`.
    /// - Parameter allowsEach: whether it may be one of `"*"`.
    package static func read(_ fields: JSONObjectReader, allowsEach: Bool = true) -> BudgetScope {
        read(fields, allowsEach: allowsEach, maximumBytes: longestValue)
    }

    private static func read(_ fields: JSONObjectReader, allowsEach: Bool, maximumBytes: Int) -> BudgetScope {
        var scope = BudgetScope()
        let each = allowsEach ? ", or \"*\" for each" : ""
        for dimension in ScopeDimension.allCases {
            if fields.isNull(dimension.rawValue) {
                let detail = "\"\(dimension.rawValue)\" is one value\(each); leave it out for all together"
                fields.fault(at: dimension.rawValue, code: "invalid_type", detail: detail)
                continue
            }
            guard let text = fields.optionalString(dimension.rawValue, maximumLength: .max) else { continue }
            guard text.utf8.count <= maximumBytes else {
                let detail = "\"\(dimension.rawValue)\" has at most \(maximumBytes) bytes of UTF-8 in any usage"
                fields.fault(at: dimension.rawValue, code: "too_long", detail: detail)
                continue
            }
            scope[dimension] = match(dimension, text, each, fields)
        }
        return scope
    }

    /// - Parameter each: that it may be `"*"`, in words; empty where it may not.
    private static func match(
        _ dimension: ScopeDimension,
        _ text: String,
        _ each: String,
        _ fields: JSONObjectReader
    ) -> ScopeMatch? {
        if text == "*", !each.isEmpty { return .each }
        guard text.contains("*") else { return .exact(text) }
        guard dimension == .model else {
            fields.fault(
                at: dimension.rawValue,
                code: "invalid_value",
                detail: "\"\(dimension.rawValue)\" must be one value\(each); only \"model\" takes a pattern"
            )
            return nil
        }
        guard text != "*", let pattern = ModelPattern(text) else {
            fields.fault(
                at: dimension.rawValue,
                code: "invalid_value",
                detail: "\"model\" must be a model's name, or its beginning with a trailing \"*\"\(each)"
            )
            return nil
        }
        return .pattern(pattern)
    }

    /// As it is shown and stored.
    package var json: JSONValue {
        .object(
            ScopeDimension.allCases.compactMap { dimension in
                self[dimension].map { JSONMember(name: dimension.rawValue, value: .string($0.text)) }
            }
        )
    }
}

extension ScopeMatch {
    fileprivate var text: String {
        switch self {
        case .each: "*"
        case .exact(let value): value
        case .pattern(let pattern): pattern.text
        }
    }
}

extension BudgetScope: PostgresConvertible {
    package init?(postgres: PostgresJSON) {
        guard let json = try? JSONValue(stored: postgres.text) else { return nil }
        let fields = JSONObjectReader(json)
        // An earlier release took longer ones.
        self = Self.read(fields, allowsEach: true, maximumBytes: .max)
        guard fields.faults.isEmpty else { return nil }
    }

    package var postgres: PostgresJSON { PostgresJSON(text: json.text) }
}

extension FieldFault {
    /// A scope names something that there isn't, or that its caller must not know of.
    package static func unknown(_ dimension: ScopeDimension, _ key: String) -> FieldFault {
        let name = dimension.rawValue
        return FieldFault(pointer: "/scope/\(name)", code: "unknown_\(name)", detail: "there is no \(name) \"\(key)\"")
    }
}
