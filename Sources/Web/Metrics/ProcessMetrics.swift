import Foundation

/// Memory, CPU time, open files and threads of this process, under the names every Prometheus client library uses.
package enum ProcessMetrics {
    private static let start = Date().timeIntervalSince1970

    package static func register(in registry: PrometheusRegistry) {
        let start = start
        registry.collect("process") { text in
            let status = fields(of: "/proc/self/statm")
            let pageBytes = Double(sysconf(Int32(_SC_PAGESIZE)))
            if status.count > 1, let virtual = Double(status[0]), let resident = Double(status[1]) {
                text.family("process_resident_memory_bytes", .gauge, [([], resident * pageBytes)])
                text.family("process_virtual_memory_bytes", .gauge, [([], virtual * pageBytes)])
            }
            text.family("process_cpu_seconds_total", .counter, [([], cpuSeconds())])
            if let open = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count {
                text.family("process_open_fds", .gauge, [([], Double(open))])
            }
            text.family("process_start_time_seconds", .gauge, [([], start.rounded())])
        }
    }

    /// Of the user and of the system, from the fields behind the program's name, which is in parentheses and may hold
    /// blanks (proc(5), `/proc/pid/stat`).
    private static func cpuSeconds() -> Double {
        let stat = (try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8)) ?? ""
        let fields = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return 0 }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func fields(of path: String) -> [Substring] {
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        return text.split(separator: " ")
    }
}
