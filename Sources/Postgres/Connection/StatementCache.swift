/// What makes two statements the same prepared statement: text, parameter types, and the role, because under row-level
/// security a plan belongs to a role.
struct StatementKey: Hashable {
    let utf8: [UInt8]
    let types: [PostgresType]
    let isTenantScoped: Bool

    init(_ statement: SQL, isTenantScoped: Bool) {
        utf8 = statement.utf8
        types = statement.parameters.entries.map(\.type)
        self.isTenantScoped = isTenantScoped
    }

    /// Over a piece of the text: few statements are as long as another and have the same there.
    func hash(into hasher: inout Hasher) {
        hasher.combine(utf8.count)
        utf8[(utf8.count / 2)...].prefix(64).withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(isTenantScoped)
    }
}

/// The names of a connection's prepared statements, the one unused for longest dropped beyond the limit.
struct StatementCache {
    private struct Entry {
        let name: String
        var lastUse: Int
    }

    private let limit: Int
    private var entries: [StatementKey: Entry] = [:]
    private var uses = 0
    private var namesGiven = 0
    /// Statements the server still has and nobody will use again.
    private(set) var discarded: [String] = []

    init(limit: Int) {
        self.limit = max(1, limit)
    }

    var count: Int { entries.count }

    /// The name of a prepared statement, which this use makes the latest.
    mutating func name(of key: StatementKey) -> String? {
        uses += 1
        guard let index = entries.index(forKey: key) else { return nil }
        entries.values[index].lastUse = uses
        return entries.values[index].name
    }

    /// Names a statement about to be prepared, and discards another when there is no room.
    mutating func insert(_ key: StatementKey) -> String {
        if entries.count >= limit, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse }) {
            remove(oldest.key, isOnServer: true)
        }
        namesGiven += 1
        let name = "s\(namesGiven)"
        entries[key] = Entry(name: name, lastUse: uses)
        return name
    }

    mutating func remove(_ key: StatementKey, isOnServer: Bool) {
        guard let entry = entries.removeValue(forKey: key), isOnServer else { return }
        discarded.append(entry.name)
    }

    /// The names to deallocate now. What fails to be is given back to `discard`.
    mutating func takeDiscarded() -> [String] {
        defer { discarded = [] }
        return discarded
    }

    mutating func discard(_ name: String) {
        discarded.append(name)
    }
}
