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

    private static func cpuSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func fields(of path: String) -> [Substring] {
        let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        return text.split(separator: " ")
    }
}
