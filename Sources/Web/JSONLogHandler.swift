import BillingCore
import Foundation
package import Logging
import Synchronization

/// Where log lines go. Each call gets one complete line with its newline.
package struct LogSink: Sendable {
    package let write: @Sendable ([UInt8]) -> Void

    package init(write: @escaping @Sendable ([UInt8]) -> Void) {
        self.write = write
    }

    /// The standard error stream of the process; a lock keeps lines whole.
    package static let standardError: LogSink = {
        let lock = Mutex(())
        return LogSink { line in
            lock.withLock { _ in
                var rest = line[...]
                while !rest.isEmpty {
                    let count = rest.withUnsafeBytes { Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
                    guard count > 0 else { return }
                    rest = rest.dropFirst(count)
                }
            }
        }
    }()
}

/// One JSON object per record and line: `time`, `level`, `logger`, `message`, then the metadata.
package struct JSONLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level
    private let label: String
    private let sink: LogSink
    private let clock: Clock

    package init(label: String, level: Logger.Level, sink: LogSink = .standardError, clock: Clock = .system) {
        self.label = label
        self.logLevel = level
        self.sink = sink
        self.clock = clock
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = metadata
        if let own = event.metadata { fields.merge(own) { $1 } }
        if let error = event.error { fields["error"] = .string(String(reflecting: error)) }
        var members = [
            JSONMember(name: "time", value: .string(clock.now().description)),
            JSONMember(name: "level", value: .string(event.level.rawValue)),
            JSONMember(name: "logger", value: .string(label)),
            JSONMember(name: "message", value: .string(event.message.description)),
        ]
        let reserved: Set<String> = ["time", "level", "logger", "message"]
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            members.append(JSONMember(name: reserved.contains(key) ? key + "_" : key, value: Self.json(value)))
        }
        var line = JSONValue.object(members).bytes
        line.append(UInt8(ascii: "\n"))
        sink.write(line)
    }

    private static func json(_ value: Logger.Metadata.Value) -> JSONValue {
        switch value {
        case .string(let text):
            .string(text)
        case .stringConvertible(let number as any BinaryInteger):
            .number("\(number)")
        case .stringConvertible(let flag as Bool):
            .bool(flag)
        case .stringConvertible(let convertible):
            .string(convertible.description)
        case .array(let elements):
            .array(elements.map(json))
        case .dictionary(let members):
            .object(members.sorted { $0.key < $1.key }.map { JSONMember(name: $0.key, value: json($0.value)) })
        }
    }
}
