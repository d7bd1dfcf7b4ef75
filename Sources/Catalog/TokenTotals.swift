/// Which token fields add up to which total. The classes of a total are disjoint and complete, so a class map over a
/// total loses or doubles tokens unless it covers each class once.
enum TokenTotals {
    struct Total: Sendable {
        let property: String
        let classes: [String]
    }

    static let all = [
        Total(
            property: "input_tokens",
            classes: ["uncached_input_tokens", "cached_input_tokens", "cache_write_tokens"]
        ),
        Total(property: "output_tokens", classes: ["plain_output_tokens", "reasoning_tokens"]),
    ]

    /// A fault of a class map: where it is, relative to the meter, and why.
    struct Fault: Sendable, Equatable {
        let path: String
        let code: String
        let detail: String
    }

    /// The faults of a class map that leaves out `ignored` deliberately.
    static func faults(of map: [ValueClass], ignoring ignored: [String]) -> [Fault] {
        var faults: [Fault] = []
        var readers: [String: String] = [:]
        for entry in map {
            for name in parts(of: entry.property) {
                if let other = readers[name] {
                    faults.append(
                        Fault(
                            path: "value/\(entry.name)",
                            code: "counted_twice",
                            detail: "\"\(name)\" is counted by the class \"\(other)\" already"
                        )
                    )
                } else {
                    readers[name] = entry.name
                }
            }
        }
        let touched = all.filter { total in total.classes.contains { readers[$0] != nil } }
        for total in touched {
            let missing = total.classes.filter { readers[$0] == nil && !ignored.contains($0) }
            guard !missing.isEmpty else { continue }
            let names = missing.map { "\"\($0)\"" }.joined(separator: ", ")
            faults.append(
                Fault(
                    path: "value",
                    code: "incomplete_total",
                    detail: "the map counts part of \"\(total.property)\": add \(names), or list it in \"ignores\""
                )
            )
        }
        let open = Set(touched.flatMap(\.classes))
        for (index, name) in ignored.enumerated() where !open.contains(name) || readers[name] != nil {
            let reason =
                readers[name].map { "is counted by the class \"\($0)\"" } ?? "is no part of a total counted here"
            faults.append(Fault(path: "ignores/\(index)", code: "not_ignorable", detail: "\"\(name)\" \(reason)"))
        }
        return faults
    }

    private static func parts(of property: String) -> [String] {
        if property == "total_tokens" { return all.flatMap(\.classes) }
        return all.first { $0.property == property }?.classes ?? [property]
    }
}
