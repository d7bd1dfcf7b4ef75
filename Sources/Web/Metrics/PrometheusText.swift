/// The Prometheus text exposition format 0.0.4 under construction.
package struct PrometheusText: Sendable {
    package enum Kind: String, Sendable {
        case counter, gauge, histogram
    }

    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    package private(set) var text = ""

    package mutating func type(of name: String, _ kind: Kind) {
        text += "# TYPE \(name) \(kind.rawValue)\n"
    }

    mutating func sample(_ name: String, labels: String, _ value: String) {
        text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
    }

    /// A whole family whose values are known now.
    package mutating func family(_ name: String, _ kind: Kind, _ samples: [(labels: [(String, String)], value: Double)])
    {
        type(of: name, kind)
        for entry in samples {
            sample(name, labels: Self.labels(entry.labels), Self.number(entry.value))
        }
    }

    /// Letters, digits, `_` and `:`; everything else becomes `_`.
    static func name(_ label: String, suffix: String = "") -> String {
        var name = String(label.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == ":") ? $0 : "_" })
        if name.first?.isNumber == true { name = "_" + name }
        return name.hasSuffix(suffix) ? name : name + suffix
    }

    static func labels(_ dimensions: [(String, String)]) -> String {
        dimensions
            .map { "\(name($0.0))=\"\(escaped($0.1))\"" }
            .joined(separator: ",")
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return "\(value)"
    }

    private static func escaped(_ value: String) -> String {
        value.replacing("\\", with: #"\\"#).replacing("\"", with: #"\""#).replacing("\n", with: #"\n"#)
    }
}
