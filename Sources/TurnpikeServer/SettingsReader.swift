import Foundation
import Web

/// Reads settings from flags and environment and collects every fault, so that they are told at once. A flag wins over
/// a variable; an empty variable counts as absent, and so does one that Kubernetes makes of a Service.
struct SettingsReader {
    private var values: [String: String] = [:]
    private var sources: [String: String] = [:]
    private(set) var faults: [String] = []

    init(environment: [String: String], arguments: [String]) {
        readEnvironment(environment)
        readArguments(arguments)
    }

    func text(_ setting: Setting) -> String? {
        values[setting.name] ?? setting.defaultText
    }

    mutating func required(_ setting: Setting) -> String {
        guard let text = text(setting) else {
            faults.append("\(setting.name) is not set: \(setting.summary).")
            return ""
        }
        return text
    }

    /// `expecting` completes the sentence "... must be ...". The value is not repeated where it may be secret.
    mutating func value<Value>(
        _ setting: Setting,
        fallback: Value,
        expecting: String,
        _ parse: (String) -> Value?
    ) -> Value {
        guard let text = text(setting) else { return fallback }
        guard let value = parse(text) else {
            let given = setting.isSecret ? "" : ", not '\(text)'"
            fault(setting, "must be \(expecting)\(given)")
            return fallback
        }
        return value
    }

    /// The parts between commas, without the spaces around them.
    func list(_ setting: Setting) -> [String] {
        (text(setting) ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty }
    }

    /// Every part must be an address or a range of them.
    mutating func addressRanges(_ setting: Setting) -> [AddressRange] {
        list(setting).compactMap { text in
            let range = AddressRange(text)
            if range == nil {
                fault(setting, "must be addresses or ranges such as 10.0.0.0/8, separated by commas, not '\(text)'")
            }
            return range
        }
    }

    mutating func integer(_ setting: Setting, in range: ClosedRange<Int>) -> Int {
        value(
            setting,
            fallback: range.lowerBound,
            expecting: "a whole number from \(range.lowerBound) to \(range.upperBound)"
        ) { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    mutating func fault(_ setting: Setting, _ reason: String) {
        faults.append("\(sources[setting.name] ?? setting.name) \(reason).")
    }

    private mutating func readEnvironment(_ environment: [String: String]) {
        let names = Set(Setting.all.map(\.name))
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) where !Self.isServiceLink(name, value) {
            if names.contains(name) {
                if !value.isEmpty { values[name] = value }
            } else if name.hasPrefix("TURNPIKE_"), !Setting.foreign.contains(name) {
                faults.append("\(name) is not a setting.\(Self.suggestion(name, among: names))")
            }
        }
    }

    /// Whether it is a variable that Kubernetes puts into every container where there is a Service named `turnpike` or
    /// `turnpike-...`, such as `TURNPIKE_SERVICE_HOST`, `TURNPIKE_PORT_80_TCP_ADDR` and `TURNPIKE_PORT`, which then is
    /// `tcp://10.0.0.1:80`.
    private static func isServiceLink(_ name: String, _ value: String) -> Bool {
        name.wholeMatch(of: /TURNPIKE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)/) != nil
            || name.wholeMatch(of: /TURNPIKE_(\w+_)?PORT/) != nil
                && value.prefixMatch(of: /(tcp|udp|sctp):\/\//) != nil
    }

    private mutating func readArguments(_ arguments: [String]) {
        let settings = Dictionary(uniqueKeysWithValues: Setting.all.map { ($0.flag, $0) })
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let flag = String(parts[0])
            guard let setting = settings[flag] else {
                faults.append("\(flag) is not an option.\(Self.suggestion(flag, among: settings.keys))")
                // What follows an unknown option is taken to be its value.
                if parts.count == 1, let next = rest.first, !next.hasPrefix("--") { rest.removeFirst() }
                continue
            }
            guard let value = parts.count == 2 ? String(parts[1]) : rest.popFirst() else {
                faults.append("\(flag) needs a value.")
                continue
            }
            values[setting.name] = value
            sources[setting.name] = flag
        }
    }

    private static func suggestion(_ name: String, among names: some Sequence<String>) -> String {
        let nearest = Nearest.names(to: name, among: names, maximumCount: 3)
        return nearest.isEmpty ? "" : " Do you mean \(nearest.joined(separator: " or "))?"
    }
}
