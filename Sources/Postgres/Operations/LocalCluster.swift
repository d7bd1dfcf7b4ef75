import Foundation
import Synchronization

/// A private PostgreSQL under a directory, for development and for tests that kill the server.
///
/// It listens on loopback only, on a port of its own, without Unix sockets; the superuser is `turnpike`, its password
/// is random and kept in the directory with mode 0600. PostgreSQL refuses to run as root, so root runs it as
/// `postgres`. The methods block: start and stop take about a second.
package final class LocalCluster: Sendable {
    /// Why a cluster can't be used.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    package let directory: String
    private let binaries: String
    private let port = Mutex(0)

    package static let superuser = "turnpike"
    private static let startAttempts = 5
    private static let startTimeoutSeconds = 30

    /// Uses `directory`, which need not exist yet. Throws when no PostgreSQL is installed.
    package init(directory: String) throws {
        guard let binaries = Self.findBinaries() else {
            throw Failure(description: "no initdb in PATH or under /usr/lib/postgresql: install PostgreSQL 15 or newer")
        }
        self.binaries = binaries
        self.directory = URL(fileURLWithPath: directory).standardizedFileURL.path
    }

    /// Where the cluster is reached as its superuser, once it has been started. Contains the password.
    package var url: String {
        get throws {
            let password = try String(contentsOfFile: passwordPath, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            return "postgresql://\(Self.superuser):\(password)@127.0.0.1:\(port.withLock { $0 })/postgres"
        }
    }

    /// Creates the cluster if need be and starts it with extra settings such as `["fsync": "off"]`. A server that
    /// already runs here is left as it is.
    package func start(settings: [String: String] = [:]) throws {
        if !FileManager.default.fileExists(atPath: dataPath + "/PG_VERSION") {
            try initialise()
        }
        if let running = runningPort() {
            port.withLock { $0 = running }
            return
        }
        try discardForeignLock()
        var lastFailure = Failure(description: "")
        for attempt in 1...Self.startAttempts {
            // The port of last time, so that clients find the server again, unless somebody else has it now.
            let remembered = attempt == 1 ? port.withLock { $0 } : 0
            let chosen = remembered != 0 ? remembered : try Self.freeLoopbackPort()
            do {
                try startServer(port: chosen, settings: settings)
                port.withLock { $0 = chosen }
                return
            } catch let failure as Failure {
                lastFailure = failure
            }
        }
        throw lastFailure
    }

    /// Stops the server, ending sessions but losing nothing.
    package func stop() throws {
        guard postmaster != nil else { return }
        try run("pg_ctl", ["stop", "-D", dataPath, "-m", "fast", "-w"])
    }

    /// Kills every process of the server with signal 9, also those that stand still. Returns when they are gone.
    package func kill() throws {
        guard let process = postmaster else { return }
        let children = Self.children(of: process)
        // First the one that makes the others.
        for member in [process] + children { Foundation.kill(member, SIGKILL) }
        let deadline = DispatchTime.now() + .seconds(Self.startTimeoutSeconds)
        while ([process] + children).contains(where: Self.isAlive) {
            guard DispatchTime.now() < deadline else {
                throw Failure(description: "processes of the killed server are still there")
            }
            usleep(2_000)
        }
        // A postmaster that nobody has reaped yet looks alive to the next one. With its children gone, its lock is
        // void.
        try? FileManager.default.removeItem(atPath: dataPath + "/postmaster.pid")
    }

    /// Stops every process of the server where it is, as a machine that hangs does: connections stay and are accepted,
    /// and nothing answers until `thaw`.
    package func freeze() throws {
        guard let process = postmaster else { throw Failure(description: "no server runs here") }
        // First the one that makes the others.
        Foundation.kill(process, SIGSTOP)
        for child in Self.children(of: process) { Foundation.kill(child, SIGSTOP) }
    }

    /// Lets a frozen server go on.
    package func thaw() {
        guard let process = postmaster else { return }
        for child in Self.children(of: process) + [process] { Foundation.kill(child, SIGCONT) }
    }

    /// Lets no process of the server make a file longer than that, as a disk that is full does; nil lets them again.
    package func boundFiles(toBytes bytes: UInt?) throws {
        guard let process = postmaster else { throw Failure(description: "no server runs here") }
        func bound(_ member: Int32) throws {
            let bound = bytes.map(String.init) ?? "unlimited"
            try run("prlimit", ["--pid", "\(member)", "--fsize=\(bound):"], isOfPostgres: false)
        }
        // First the one that makes the others, so that those which come now have its bound.
        try bound(process)
        for child in Self.children(of: process) {
            do { try bound(child) } catch  where !Self.isAlive(child) {}
        }
    }

    /// The process id of the running server.
    package var postmaster: Int32? {
        guard let process = lockHolder, Self.isAlive(process), Self.isServer(process) else { return nil }
        return process
    }

    private var dataPath: String { directory + "/data" }
    private var passwordPath: String { directory + "/password" }
    private var logPath: String { directory + "/server.log" }
}

// MARK: - Making and starting

extension LocalCluster {
    private func initialise() throws {
        let manager = FileManager.default
        try manager.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700]
        )
        var generator = SystemRandomNumberGenerator()
        let password = (0..<4).map { _ in String(generator.next(), radix: 36) }.joined()
        try? manager.removeItem(atPath: passwordPath)
        guard
            manager.createFile(
                atPath: passwordPath,
                contents: Data(password.utf8),
                attributes: [.posixPermissions: 0o600]
            )
        else { throw Failure(description: "cannot write \(passwordPath)") }
        if geteuid() == 0 {
            try giveToServerAccount([directory, passwordPath])
        }
        // Made under another name, so that a cluster whose making was interrupted is never taken for a whole one.
        let unfinishedPath = dataPath + ".new"
        try? manager.removeItem(atPath: unfinishedPath)
        try run(
            "initdb",
            [
                "-D", unfinishedPath, "-U", Self.superuser, "-E", "UTF8", "--locale=C", "--auth-local=reject",
                "--auth-host=scram-sha-256", "--pwfile", passwordPath, "--no-instructions",
            ]
        )
        try manager.moveItem(atPath: unfinishedPath, toPath: dataPath)
    }

    /// After a crash the lock file may name a process id that some other program has now. PostgreSQL would take that
    /// program for a server and refuse to start.
    private func discardForeignLock() throws {
        guard let holder = lockHolder, Self.isAlive(holder), !Self.isServer(holder) else { return }
        try FileManager.default.removeItem(atPath: dataPath + "/postmaster.pid")
    }

    private func startServer(port: Int, settings: [String: String]) throws {
        var options = ["listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": String(port)]
        options.merge(settings) { _, own in own }
        let text = options.sorted { $0.key < $1.key }.map { "-c \($0.key)='\($0.value)'" }.joined(separator: " ")
        try run(
            "pg_ctl",
            ["start", "-D", dataPath, "-l", logPath, "-w", "-t", String(Self.startTimeoutSeconds), "-o", text]
        )
    }

    private func giveToServerAccount(_ paths: [String]) throws {
        guard let account = getpwnam("postgres")?.pointee else {
            throw Failure(description: "running as root needs a postgres account, because PostgreSQL refuses root")
        }
        for path in paths {
            guard chown(path, account.pw_uid, account.pw_gid) == 0 else {
                throw Failure(description: "cannot give \(path) to the postgres account")
            }
        }
    }

    /// Runs a program, as `postgres` when we are root. Its output goes to a file: a server started by it would keep a
    /// pipe open.
    /// - Parameter isOfPostgres: whether it is one of this cluster's; others are looked for in PATH.
    private func run(_ program: String, _ arguments: [String], isOfPostgres: Bool = true) throws {
        var command = [isOfPostgres ? "\(binaries)/\(program)" : program] + arguments
        if geteuid() == 0 {
            command =
                ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--reset-env", "--"] + command
        }
        let outputPath = directory + "/\(program).out"
        let status = try ChildProcess.run(command, outputPath: outputPath, workingDirectory: directory)
        guard status == 0 else {
            let said = (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? ""
            let reach = geteuid() == 0 ? " (the postgres account must be able to reach \(directory))" : ""
            throw Failure(description: "\(program) failed\(reach): \(said.suffix(800)); see \(logPath)")
        }
    }
}

// MARK: - Looking around

extension LocalCluster {
    private static func findBinaries() -> String? {
        let manager = FileManager.default
        let root = "/usr/lib/postgresql"
        let versions = ((try? manager.contentsOfDirectory(atPath: root)) ?? [])
            .compactMap { Int($0) }
            .sorted(by: >)
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let candidates = path.split(separator: ":").map(String.init) + versions.map { "\(root)/\($0)/bin" }
        return candidates.first { directory in
            ["initdb", "pg_ctl", "postgres"].allSatisfy { manager.isExecutableFile(atPath: "\(directory)/\($0)") }
        }
    }

    private func postmasterLines() -> [String]? {
        guard let text = try? String(contentsOfFile: dataPath + "/postmaster.pid", encoding: .utf8) else { return nil }
        return text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// The process id in the lock file, whether or not it is a server's.
    private var lockHolder: Int32? {
        postmasterLines()?.first.flatMap { Int32($0) }
    }

    /// The port of a server that runs here; the fourth line of its pid file.
    private func runningPort() -> Int? {
        guard postmaster != nil, let lines = postmasterLines(), lines.count > 3 else { return nil }
        return Int(lines[3])
    }

    private static func children(of parent: Int32) -> [Int32] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { Int32($0) }.filter { state(of: $0)?.parent == parent }
    }

    /// State letter and parent, from what follows the parenthesised name in `/proc/PID/stat`.
    private static func state(of process: Int32) -> (letter: Substring, parent: Int32)? {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            let fields = text.split(separator: ")").last?.split(separator: " "), fields.count > 1,
            let parent = Int32(fields[1])
        else { return nil }
        return (fields[0], parent)
    }

    private static func isServer(_ process: Int32) -> Bool {
        let name = try? String(contentsOfFile: "/proc/\(process)/comm", encoding: .utf8)
        return name?.trimmingCharacters(in: .whitespacesAndNewlines) == "postgres"
    }

    /// A zombie, whose parent hasn't collected it yet, is not alive.
    private static func isAlive(_ process: Int32) -> Bool {
        guard let letter = state(of: process)?.letter else { return false }
        return letter != "Z" && letter != "X"
    }

    /// A port of loopback that nobody has now.
    package static func freeLoopbackPort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(description: "no socket") }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(descriptor, generic, length) == 0 ? getsockname(descriptor, generic, &length) : -1
            }
        }
        guard code == 0 else { throw Failure(description: "no free port on loopback") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
