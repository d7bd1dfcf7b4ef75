/// Finds what a mistyped name was meant to be.
package enum Nearest {
    /// The candidate with the smallest edit distance, if it is small for the name's length; ties go to the
    /// alphabetically first.
    package static func name(to given: String, among candidates: some Sequence<String>) -> String? {
        names(to: given, among: candidates, maximumCount: 1).first
    }

    package static func names(
        to given: String,
        among candidates: some Sequence<String>,
        maximumCount: Int
    ) -> [String] {
        let bound = max(1, given.count / 3)
        return
            candidates
            .map { (name: $0, distance: distance(Array(given.lowercased()), Array($0.lowercased()))) }
            .filter { $0.distance <= bound || $0.name.hasPrefix(given) }
            .sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }
            .prefix(maximumCount)
            .map(\.name)
    }

    /// Levenshtein distance by the two-row method.
    private static func distance(_ left: [Character], _ right: [Character]) -> Int {
        var previous = Array(0...right.count)
        for (row, character) in left.enumerated() {
            var current = [row + 1]
            for (column, other) in right.enumerated() {
                let substitution = previous[column] + (character == other ? 0 : 1)
                current.append(min(substitution, previous[column + 1] + 1, current[column] + 1))
            }
            previous = current
        }
        return previous[right.count]
    }
}
