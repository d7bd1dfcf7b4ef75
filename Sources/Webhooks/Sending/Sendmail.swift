import CLibPQ
import Glibc

/// Submission of mail through a program that speaks like `sendmail`: it reads the message and whom it is for (`-t`)
/// from its input, a line with a dot ends nothing (`-i`), and whoever can't deliver it answers to the sender (`-f`). No
/// shell is asked, and it inherits nothing of our environment.
package struct Sendmail: Sendable {
    package static let defaultPath = "/usr/sbin/sendmail"

    private static let outputBytes = 500
    private static let pollMilliseconds: Int64 = 20

    package let path: String
    package let from: MailAddress
    private let timeout: Duration

    package init(path: String, from: MailAddress, timeout: Duration = .seconds(15)) {
        self.path = path
        self.from = from
        self.timeout = timeout
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// The program is not there to be asked.
    struct NotRun: Error, CustomStringConvertible {
        let description: String
    }

    /// Returns when the program has taken the message over.
    func submit(_ message: MailMessage) async throws {
        let input = try MemoryFile(message.bytes)
        let output = try MemoryFile([])
        let status = try await run(input: input, output: output)
        guard status == 0 else {
            let said = String(decoding: output.beginning(Self.outputBytes), as: UTF8.self)
            let signal = status & 0x7F
            let reason = signal == 0 ? "ended with \(status >> 8 & 0xFF)" : "was ended by signal \(signal)"
            throw Failure(description: "\(path) \(reason): \(said)")
        }
    }

    /// Its wait status. A program that takes too long is killed with all it has started.
    private func run(input: MemoryFile, output: MemoryFile) async throws -> Int32 {
        let process = try spawn(input: input, output: output)
        let deadline = ContinuousClock.now + timeout
        var status: Int32 = 0
        while true {
            let ended = waitpid(process, &status, WNOHANG)
            if ended == process { return status }
            guard ended == 0 || errno == EINTR else { throw Failure(description: "cannot wait for \(path)") }
            do {
                guard ContinuousClock.now < deadline else { throw Failure(description: "\(path) takes too long") }
                try await Task.sleep(for: .milliseconds(Self.pollMilliseconds))
            } catch {
                kill(-process, SIGKILL)
                _ = waitpid(process, &status, 0)
                throw error
            }
        }
    }

    private func spawn(input: MemoryFile, output: MemoryFile) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input.descriptor, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output.descriptor, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output.descriptor, STDERR_FILENO)
        posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1)
        // In a group of its own, so that it can be killed with what it has started.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)

        let texts = [path, "-t", "-i", "-f", from.text]
        var arguments: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] = [strdup("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), nil]
        defer { (arguments + environment).forEach { free($0) } }
        var process: pid_t = 0
        let code = posix_spawn(&process, path, &actions, &attributes, &arguments, &environment)
        guard code == 0 else {
            throw NotRun(description: "cannot run \(path): \(String(cString: strerror(code)))")
        }
        return process
    }
}

/// A file without a name, in memory, read from its beginning.
private final class MemoryFile: Sendable {
    /// `MFD_CLOEXEC`.
    private static let closedOnExecution: UInt32 = 1

    let descriptor: Int32

    init(_ bytes: [UInt8]) throws {
        descriptor = memfd_create("turnpike-mail", Self.closedOnExecution)
        guard descriptor >= 0 else { throw Sendmail.Failure(description: "no memory for a mail") }
        guard write(descriptor, bytes, bytes.count) == bytes.count, lseek(descriptor, 0, SEEK_SET) == 0 else {
            close(descriptor)
            throw Sendmail.Failure(description: "no memory for a mail")
        }
    }

    deinit {
        close(descriptor)
    }

    func beginning(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let length = pread(descriptor, &bytes, count, 0)
        return Array(bytes.prefix(max(0, length)))
    }
}
