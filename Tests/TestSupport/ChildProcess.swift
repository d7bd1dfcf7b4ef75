package import Foundation
import Glibc

/// A program that a test starts and ends. What it prints goes to a file, and the end of that into failure messages.
package actor ChildProcess {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String

        package init(description: String) {
            self.description = description
        }
    }

    package nonisolated let name: String
    package nonisolated let processID: Int32
    private let process: Process
    private let outputFile: URL

    /// - Parameter environment: the whole of it; nothing is inherited, so that a run does not depend on the machine.
    package init(
        _ executable: URL,
        arguments: [String],
        environment: [String: String],
        directory: URL,
        logDirectory: URL? = nil
    ) throws {
        name = executable.lastPathComponent
        outputFile = (logDirectory ?? directory).appendingPathComponent("\(name)-\(UUID().uuidString.prefix(8)).log")
        guard FileManager.default.createFile(atPath: outputFile.path, contents: nil) else {
            throw Failure(description: "cannot write \(outputFile.path)")
        }
        let output = try FileHandle(forWritingTo: outputFile)
        let process = Process()
        process.executableURL = executable
        process.arguments = arguments
        process.environment = environment.merging(Self.runMarker) { given, _ in given }
        process.currentDirectoryURL = directory
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try Self.withNoSignalBlocked { try process.run() }
        try output.close()
        self.process = process
        processID = process.processIdentifier
    }

    /// A program inherits what the thread that starts it blocks, and Dispatch's threads block even what asks it to end.
    private static func withNoSignalBlocked(_ body: () throws -> Void) rethrows {
        var none = sigset_t()
        var before = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try body()
    }

    /// `scripts/test` ends what carries its mark, should the tests themselves be killed.
    private static var runMarker: [String: String] {
        ProcessInfo.processInfo.environment.filter { $0.key == "TEST_RUN_MARK" }
    }

    package var isRunning: Bool { process.isRunning }

    /// The exit code; nil while it runs.
    package var exitCode: Int32? { process.isRunning ? nil : process.terminationStatus }

    /// Asks it to end, and after ten seconds makes it.
    package func stop() async {
        guard process.isRunning else { return }
        process.terminate()
        if await poll(for: .seconds(10), { !process.isRunning }) { return }
        crash()
        _ = await poll(for: .seconds(10)) { !process.isRunning }
    }

    /// Ends it at once, with no chance to tidy up.
    package func crash() {
        Glibc.kill(processID, SIGKILL)
    }

    /// Waits for it to end by itself and gives its exit code; fails after the time allowed.
    package func exitCode(within duration: Duration) async throws -> Int32 {
        guard await poll(for: duration, { !process.isRunning }) else {
            throw Failure(description: "\(name) is still running after \(duration)\n\(outputTail())")
        }
        return process.terminationStatus
    }

    package func output() -> String {
        (try? String(contentsOf: outputFile, encoding: .utf8)) ?? ""
    }

    package func outputTail(lines: Int = 60) -> String {
        output().split(separator: "\n", omittingEmptySubsequences: false).suffix(lines).joined(separator: "\n")
    }

    /// Waits until it serves, which `isReady` says; fails early when it ends, and after the time allowed.
    package func waitUntilReady(within duration: Duration, _ isReady: @Sendable () async -> Bool) async throws {
        let deadline = ContinuousClock.now + duration
        while !(await isReady()) {
            guard process.isRunning else {
                throw Failure(description: "\(name) ended with \(process.terminationStatus)\n\(outputTail())")
            }
            guard ContinuousClock.now < deadline else {
                throw Failure(description: "\(name) was not ready after \(duration)\n\(outputTail())")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private func poll(for duration: Duration, _ condition: () -> Bool) async -> Bool {
        let deadline = ContinuousClock.now + duration
        while !condition() {
            guard ContinuousClock.now < deadline else { return false }
            try? await Task.sleep(for: .milliseconds(20))
        }
        return true
    }
}

/// Runs a program for as long as the body does.
package func withChildProcess<Result: Sendable>(
    _ executable: URL,
    arguments: [String],
    environment: [String: String],
    directory: URL,
    logDirectory: URL? = nil,
    _ body: (ChildProcess) async throws -> Result
) async throws -> Result {
    let child = try ChildProcess(
        executable,
        arguments: arguments,
        environment: environment,
        directory: directory,
        logDirectory: logDirectory
    )
    do {
        let result = try await body(child)
        await child.stop()
        return result
    } catch {
        await child.stop()
        throw error
    }
}

/// A directory of a test's own, removed afterwards.
package func withTemporaryDirectory<Result: Sendable>(_ body: (URL) async throws -> Result) async throws -> Result {
    let directory = FileManager.default.temporaryDirectory
        .appendingPathComponent("turnpike-\(UUID().uuidString.lowercased())", isDirectory: true)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    return try await body(directory)
}
