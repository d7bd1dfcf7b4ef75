import Foundation
import Identity

/// The directory that `turnpike dev` keeps its things in: the database, the keys, and a lock that one process holds.
final class DevDirectory: Sendable {
    struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    let url: URL
    /// Where the database is: under the directory, or where a link there leads.
    let databasePath: String
    private let lockDescriptor: Int32

    var keysFile: URL { url.appendingPathComponent("keys") }

    /// Where anything of it is. Where a link leads to the database, that does not go with the directory.
    var places: [String] {
        let link = url.appendingPathComponent("postgres").path
        let isLink = (try? FileManager.default.destinationOfSymbolicLink(atPath: link)) != nil
        return isLink ? [databasePath, url.path] : [url.path]
    }

    /// Makes the directory if need be and takes its lock. The lock goes with the process, however that ends.
    init(path: String) throws {
        url = URL(fileURLWithPath: path).standardizedFileURL
        do {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        } catch {
            throw Fault(description: "cannot make the directory \(url.path): \(error.localizedDescription)")
        }
        lockDescriptor = try Self.lock(url)
        databasePath = try Self.databasePath(under: url)
    }

    deinit {
        close(lockDescriptor)
    }

    /// The master key of the demo, made at the first start and kept, readable by its owner only.
    func masterKey() throws -> MasterKey {
        let file = url.appendingPathComponent("master-key")
        if !FileManager.default.fileExists(atPath: file.path) {
            let isMade = FileManager.default.createFile(
                atPath: file.path,
                contents: Data(MasterKey.random().utf8),
                attributes: [.posixPermissions: 0o600]
            )
            guard isMade else { throw Fault(description: "cannot write \(file.path)") }
        }
        let text = try String(contentsOf: file, encoding: .utf8)
        guard let key = MasterKey(parsing: text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
            throw Fault(description: "\(file.path) must hold \(MasterKey.expectation); remove it to have another made")
        }
        return key
    }

    private static func lock(_ url: URL) throws -> Int32 {
        let path = url.appendingPathComponent("lock").path
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw Fault(description: "cannot write in \(url.path): \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw Fault(
                description: "another 'turnpike dev' is running in \(url.path); give this one its own --directory"
            )
        }
        return descriptor
    }

    /// PostgreSQL runs as the postgres user when we are root, and that user can't enter every directory of root's. The
    /// database is then made in its home, and a link leads there.
    private static func databasePath(under url: URL) throws -> String {
        let link = url.appendingPathComponent("postgres").path
        let manager = FileManager.default
        if manager.fileExists(atPath: link) { return URL(fileURLWithPath: link).resolvingSymlinksInPath().path }
        try? manager.removeItem(atPath: link)
        guard geteuid() == 0, let account = getpwnam("postgres")?.pointee, !isOpenToOthers(url) else { return link }
        let home = String(cString: account.pw_dir)
        let name = "turnpike-dev-" + String(UInt32.random(in: .min ... .max), radix: 16)
        let target = URL(fileURLWithPath: home).appendingPathComponent(name)
        try manager.createDirectory(
            at: target,
            withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700]
        )
        guard chown(target.path, account.pw_uid, account.pw_gid) == 0 else {
            throw Fault(description: "cannot give \(target.path) to the postgres user")
        }
        try manager.createSymbolicLink(atPath: link, withDestinationPath: target.path)
        Terminal.write(
            "The postgres user can't enter \(url.path), so the database is in \(target.path).\n",
            to: .standardError
        )
        return target.path
    }

    /// Whether everybody may pass through the directory and each one above it.
    private static func isOpenToOthers(_ url: URL) -> Bool {
        var directory = url.resolvingSymlinksInPath()
        while true {
            let attributes = try? FileManager.default.attributesOfItem(atPath: directory.path)
            let permissions = attributes?[.posixPermissions] as? NSNumber
            guard let permissions, permissions.intValue & 0o001 != 0 else { return false }
            guard directory.path != "/" else { return true }
            directory.deleteLastPathComponent()
        }
    }
}
