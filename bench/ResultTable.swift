import Foundation

/// The table that a run prints: every rate beside the raw figure of the same run.
struct ResultTable {
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

    mutating func add(_ name: String, perSecond: Double, result: LoadResult?, raw: Double) {
        var cells = [
            name, Int(perSecond).formatted(), (perSecond / raw).formatted(.number.precision(.fractionLength(2))),
        ]
        if let result {
            cells += [50, 99].map { percentile in
                let milliseconds = Double(result.latency(percentile: percentile)) / 1_000
                return "\(milliseconds.formatted(.number.precision(.fractionLength(2)))) ms"
            }
            cells.append(
                result.failures.isEmpty
                    ? "0" : result.failures.map { "\($0.value) x \($0.key)" }.joined(separator: "; ")
            )
        } else {
            cells += ["", "", "0"]
        }
        rows.append("| " + cells.joined(separator: " | ") + " |")
    }

    mutating func note(_ name: String, _ value: String) {
        notes.append("- \(name): \(value)")
    }

    var markdown: String {
        let processor =
            (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n")
            .first { $0.hasPrefix("model name") }?.split(separator: ":").last
            .map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown processor"
        return """
            | what | per second | of raw | median | p99 | failures |
            |---|---|---|---|---|---|
            \(rows.joined(separator: "\n"))

            - commit: \(commit)
            - \(ProcessInfo.processInfo.activeProcessorCount) cores (\(processor)) for load generator, service and \
            PostgreSQL together; fsync on\(idlePolling)
            - closed loop, \(connections) connections, \(Int(seconds)) s a row
            \(notes.joined(separator: "\n"))
            """
    }

    /// How long an idle processor of a virtual machine looks for work before it halts, which the host has to end: with
    /// none, each wake-up costs tens of microseconds. Empty where the kernel has no such setting.
    private var idlePolling: String {
        let path = "/sys/module/haltpoll/parameters/guest_halt_poll_ns"
        guard let setting = try? String(contentsOfFile: path, encoding: .utf8),
            let nanoseconds = Int(setting.trimmingCharacters(in: .whitespacesAndNewlines))
        else { return "" }
        return ", the cores polling for \(nanoseconds / 1_000) µs before they halt"
    }
}
