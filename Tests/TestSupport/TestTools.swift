package import Foundation
import Glibc

/// Where the tests find programs that are not part of the package; `scripts/test` says it in the environment.
package enum TestTools {
    package static let isCI = ProcessInfo.processInfo.environment["CI"] == "true"

    /// The virtual environment with schemathesis and the LiteLLM proxy.
    package static let virtualEnvironment: URL? = {
        guard let path = ProcessInfo.processInfo.environment["TURNPIKE_TEST_VENV"], !path.isEmpty else { return nil }
        return URL(fileURLWithPath: path, isDirectory: true)
    }()

    /// A program of the virtual environment; nil when it is not installed.
    package static func installed(_ program: String) -> URL? {
        guard let url = virtualEnvironment?.appendingPathComponent("bin/\(program)"),
            FileManager.default.isExecutableFile(atPath: url.path)
        else { return nil }
        return url
    }

    /// Runs a program of the machine to its end and gives what it prints; fails when it does.
    package static func run(
        _ program: String,
        _ arguments: [String],
        in directory: URL,
        within limit: Duration = .seconds(60)
    ) async throws -> String {
        try await withTemporaryDirectory { logs in
            try await withChildProcess(
                URL(fileURLWithPath: "/usr/bin/env"),
                arguments: [program] + arguments,
                environment: ["PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"],
                directory: directory,
                logDirectory: logs
            ) { child in
                let code = try await child.exitCode(within: limit)
                guard code == 0 else {
                    let output = await child.outputTail()
                    throw ChildProcess.Failure(description: "\(program) failed with \(code)\n\(output)")
                }
                return await child.output()
            }
        }
    }

    /// Where the package is checked out.
    package static let packageRoot = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The command as the same build made it: beside the test bundle, or where `TURNPIKE_TEST_BINARY` says.
    package static let turnpikeBinary: URL? = {
        if let path = ProcessInfo.processInfo.environment["TURNPIKE_TEST_BINARY"] {
            return URL(fileURLWithPath: path)
        }
        var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        while folder.path.count > 1 {
            let candidate = folder.appendingPathComponent("turnpike")
            var isDirectory: ObjCBool = false
            if FileManager.default.fileExists(atPath: candidate.path, isDirectory: &isDirectory), !isDirectory.boolValue
            {
                return candidate
            }
            folder.deleteLastPathComponent()
        }
        return nil
    }()

    /// A loopback port that was free a moment ago.
    package static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                let bound = bind(descriptor, generic, length)
                return bound == 0 ? getsockname(descriptor, generic, &length) : bound
            }
        }
        guard status == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
