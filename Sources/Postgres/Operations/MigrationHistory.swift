/// A migration and the SHA-256 of its text, in hexadecimal.
struct ChecksummedMigration: Hashable, Sendable {
    let name: String
    let sql: String
    let checksum: String
}

/// What `schema_migration` says about a migration.
struct MigrationRecord: Hashable, Sendable {
    let name: String
    let checksum: String
    let appliedAt: PostgresTimestamp
}

/// Where a migration stands.
package struct MigrationStatus: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        case applied(PostgresTimestamp)
        case pending
        /// Applied, but its text has changed since.
        case edited(PostgresTimestamp)
        /// Applied, but not among the migrations of this release.
        case unknown(PostgresTimestamp)
        /// Not applied, though a later one is.
        case outOfOrder
    }

    package let name: String
    package let state: State
}

/// Why the migrations can't be applied. Nothing is repaired silently.
package enum MigrationFailure: Error, CustomStringConvertible {
    case duplicate(name: String)
    case edited(name: String)
    case unknown(name: String)
    case outOfOrder(name: String, after: String)
    case endsItsTransaction(name: String)
    case failed(name: String, PostgresError)

    package var description: String {
        switch self {
        case .duplicate(let name):
            "two migrations are named \(name)"
        case .edited(let name):
            "migration \(name) was edited after it was applied: restore its text and write a new migration"
        case .unknown(let name):
            "migration \(name) is applied to the database but missing here: this release is older than the database"
        case .outOfOrder(let name, let after):
            "migration \(name) is new but sorts before \(after), which is applied: give it a higher number"
        case .endsItsTransaction(let name):
            "migration \(name) ends its own transaction: leave BEGIN, COMMIT and ROLLBACK to the migrator"
        case .failed(let name, let error):
            "migration \(name) failed and was rolled back: \(error)"
        }
    }
}

/// Compares what there is with what was applied. Pure.
struct MigrationHistory {
    /// In order of their names.
    let migrations: [ChecksummedMigration]
    let records: [MigrationRecord]

    /// What is to be applied, in order; throws the first thing that doesn't match. `toleratingNewer` accepts what a
    /// newer release applied after the last migration known here.
    func pending(toleratingNewer: Bool = false) throws(MigrationFailure) -> [ChecksummedMigration] {
        for (earlier, later) in zip(migrations, migrations.dropFirst()) where earlier.name == later.name {
            throw .duplicate(name: later.name)
        }
        let last = records.map(\.name).max()
        for status in statuses {
            switch status.state {
            case .applied, .pending: continue
            case .edited: throw .edited(name: status.name)
            case .unknown where toleratingNewer && isNewer(status.name): continue
            case .unknown: throw .unknown(name: status.name)
            case .outOfOrder: throw .outOfOrder(name: status.name, after: last ?? "")
            }
        }
        let applied = Set(records.map(\.name))
        return migrations.filter { !applied.contains($0.name) }
    }

    /// What was applied after the last migration known here, in order.
    var newer: [String] {
        records.map(\.name).filter(isNewer).sorted()
    }

    private func isNewer(_ name: String) -> Bool {
        migrations.last.map { $0.name < name } ?? false
    }

    /// Every name on either side, in order.
    var statuses: [MigrationStatus] {
        let recorded = Dictionary(records.map { ($0.name, $0) }) { first, _ in first }
        let known = Set(migrations.map(\.name))
        let last = records.map(\.name).max()
        let ours = migrations.map { migration in
            let state: MigrationStatus.State
            if let record = recorded[migration.name] {
                let isSame = record.checksum == migration.checksum
                state = isSame ? .applied(record.appliedAt) : .edited(record.appliedAt)
            } else if let last, migration.name < last {
                state = .outOfOrder
            } else {
                state = .pending
            }
            return MigrationStatus(name: migration.name, state: state)
        }
        let theirs = records.filter { !known.contains($0.name) }
            .map { MigrationStatus(name: $0.name, state: .unknown($0.appliedAt)) }
        return (ours + theirs).sorted { $0.name < $1.name }
    }
}
