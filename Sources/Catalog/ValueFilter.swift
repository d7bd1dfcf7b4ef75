/// One condition on a value of an event. A meter tests properties of the event's data, a feature tests the
/// dimensions of its meter; both compare text exactly. All filters of a list must hold.
package struct ValueFilter: Sendable, Hashable {
    /// What a filter asks of the value.
    package enum Condition: Sendable, Hashable {
        /// Present, and one of these.
        case among(Set<String>)
        /// None of these; an absent value passes.
        case notAmong(Set<String>)
        /// Present (true) or absent (false); JSON null counts as absent.
        case exists(Bool)
    }

    /// The property path (meter) or the dimension's name (feature) the condition looks at.
    package let name: String
    /// Where an event has the value, if the name is a path.
    package let path: EventPropertyPath
    package let condition: Condition

    package init(name: String, condition: Condition) {
        self.name = name
        path = EventPropertyPath(name)
        self.condition = condition
    }

    /// Whether a value, nil when the event has none, passes.
    package func admits(_ value: String?) -> Bool {
        switch condition {
        case .among(let values):
            guard let value else { return false }
            return values.contains(value)
        case .notAmong(let values):
            guard let value else { return true }
            return !values.contains(value)
        case .exists(let expected):
            return (value != nil) == expected
        }
    }
}
