package import Logging
import Synchronization
import Web

/// Keeps the log lines of a server under test.
package final class TestLog: Sendable {
    private let bytes = Mutex<[UInt8]>([])

    package init() {}

    package var text: String { bytes.withLock { String(decoding: $0, as: UTF8.self) } }

    package var lines: [String] { text.split(separator: "\n").map(String.init) }

    package func logger(level: Logger.Level) -> Logger {
        let sink = LogSink { line in self.bytes.withLock { $0 += line } }
        return Logger(label: "turnpike") { JSONLogHandler(label: $0, level: level, sink: sink) }
    }
}
