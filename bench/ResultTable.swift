import Foundation

/// The table that a run prints: every rate beside the raw figure of the same run.
struct ResultTable {
    /// What the measured PostgreSQL says of itself.
    var server = ""
    /// Whether any request of any row failed.
    private(set) var hasFailures = false
    private var rows: [String] = []
    private var notes: [String] = []
    private let commit: String
    private let connections: Int
    private let seconds: Double

    init(commit: String, connections: Int, seconds: Double) {
        self.commit = commit
        self.connections = connections
        self.seconds = seconds
    }

    /// - Parameter raw: what the rate is compared with; nil where it is the one that was offered.
    mutating func add(_ name: String, perSecond: Double, result: LoadResult? = nil, raw: Double?) {
        var cells = [name, Int(perSecond).formatted(), raw.map { Self.text(perSecond / $0) } ?? ""]
        if let result {
            cells += [50.0, 99.0].map { percentile in
                "\(Self.text(Double(result.latency(percentile: percentile)) / 1_000)) ms"
            }
            cells.append(result.generatorMicroseconds.map { "\(Self.text($0)) µs" } ?? "")
            cells.append(Self.text(of: result.failures))
            hasFailures = hasFailures || !result.failures.isEmpty
        } else {
            cells += ["", "", "", "0"]
        }
        rows.append("| " + cells.joined(separator: " | ") + " |")
    }

    mutating func note(_ name: String, _ value: String) {
        notes.append("- \(name): \(value)")
    }

    var markdown: String {
        """
        | what | per second | of raw | median | p99 | generator | failures |
        |---|---|---|---|---|---|---|
        \(rows.joined(separator: "\n"))

        - commit: \(commit)
        - \(ProcessInfo.processInfo.activeProcessorCount) cores (\(processor)) for load generator, service and \
        PostgreSQL together; Linux \(kernel)\(idlePolling)
        - \(server)
        - \(connections) connections, \(Int(seconds)) s a row; a closed loop, except where a rate is offered
        \(notes.joined(separator: "\n"))
        """
    }

    private static func text(_ number: Double) -> String {
        number.formatted(.number.precision(.fractionLength(2)))
    }

    private static func text(of failures: [String: Int]) -> String {
        guard !failures.isEmpty else { return "0" }
        return failures.sorted { $0.value > $1.value }.map { "\($0.value) x \($0.key)" }.joined(separator: "; ")
    }

    private var processor: String {
        let facts = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        return facts.split(separator: "\n").first { $0.hasPrefix("model name") }?.split(separator: ":").last
            .map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown processor"
    }

    private var kernel: String { Self.line(of: "/proc/sys/kernel/osrelease") ?? "of unknown version" }

    /// How long an idle processor of a virtual machine looks for work before it halts, which the host has to end: with
    /// none, each wake-up costs tens of microseconds. Empty where the kernel has no such setting.
    private var idlePolling: String {
        let setting = Self.line(of: "/sys/module/haltpoll/parameters/guest_halt_poll_ns").flatMap { Int($0) }
        return setting.map { ", the cores polling for \($0 / 1_000) µs before they halt" } ?? ""
    }

    private static func line(of path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
