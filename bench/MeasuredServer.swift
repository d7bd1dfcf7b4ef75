import Foundation
import Postgres

/// What the measured PostgreSQL is asked beside what is measured.
enum MeasuredServer {
    struct StillWorking: Error, CustomStringConvertible {
        let description: String
    }

    private static let longestWaitSeconds = 300

    /// Its version, how durable its commits are, and what they are stored on.
    static func description(at url: String) async throws -> String {
        let connection = try PostgresConnection(PostgresConfiguration(url: url).asOwner())
        let said = try await connection.query(
            """
            SELECT format('PostgreSQL %s, fsync %s, synchronous_commit %s', current_setting('server_version'),
                    current_setting('fsync'), current_setting('synchronous_commit')),
                current_setting('data_directory')
            """
        ) { result throws(PostgresError) in
            try result.first { row throws(PostgresError) in (try row.next(String.self), try row.next(String.self)) }
        }
        guard let (settings, directory) = said else { return "PostgreSQL" }
        return "\(settings), its data on \(fileSystem(of: directory))"
    }

    /// What the log of events and the table that tells repeated ones take on disk, with all their indexes.
    static func bytesOfEvents(at url: String) async throws -> Int64 {
        let connection = try PostgresConnection(PostgresConfiguration(url: url).asOwner())
        let bytes = try await connection.query(
            """
            SELECT (pg_total_relation_size('event_dedup') + sum(pg_total_relation_size(relid)))::bigint
            FROM pg_partition_tree('usage_event')
            """
        ) { result throws(PostgresError) in
            try result.first { row throws(PostgresError) in try row.next(Int64.self) }
        }
        return bytes ?? 0
    }

    /// Returns when no worker of the service goes through calls or limits any more because something was changed: it
    /// would be measured with what follows.
    static func waitForWorkers(at url: String) async throws {
        let connection = try PostgresConnection(PostgresConfiguration(url: url).asOwner())
        let deadline = ContinuousClock.now + .seconds(longestWaitSeconds)
        var changes: Int64 = 0
        while ContinuousClock.now < deadline {
            let counted = try await connection.query(Self.countChanges) { result throws(PostgresError) in
                try result.first { row throws(PostgresError) in try row.next(Int64.self) }
            }
            changes = counted ?? 0
            if changes == 0 { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw StillWorking(
            description: "\(changes) changes of plans, prices or budgets were not gone through in "
                + "\(longestWaitSeconds) seconds"
        )
    }

    private static let countChanges: SQL =
        "SELECT (SELECT count(*) FROM hold_change) + (SELECT count(*) FROM budget_change)"

    /// The type of the file system that a path is on: the longest mount point above it, the last one there.
    private static func fileSystem(of path: String) -> String {
        let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
        var found = (point: "", type: "an unknown file system")
        for mount in mounts.split(separator: "\n").map({ $0.split(separator: " ").map(String.init) }) {
            guard mount.count > 2, mount[1] == "/" || "\(path)/".hasPrefix("\(mount[1])/") else { continue }
            if mount[1].count >= found.point.count { found = (mount[1], mount[2]) }
        }
        return found.type
    }
}
