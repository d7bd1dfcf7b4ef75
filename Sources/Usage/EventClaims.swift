import BillingCore
import Catalog
import Postgres

/// Names an event of a tenant.
struct TenantEventKey: Hashable, Sendable {
    let tenant: TenantID
    let key: EventKey

    /// The key is already a hash.
    func hash(into hasher: inout Hasher) {
        hasher.combine(key.low)
    }
}

/// The claims of a flush on its events' keys: which are fresh, which were sent before, and which were sent before
/// with other content.
struct EventClaims {
    private enum Verdict {
        case fresh
        case duplicate
        case conflict
    }

    /// How many ledger sequences each tenant needs at most.
    let ledgerCounts: [TenantID: Int64]
    private let starts: [Int]
    private var verdicts: [Verdict]
    private let firstClaims: [(identity: TenantEventKey, hash: Int64, position: Int)]
    private let repeats: [(identity: TenantEventKey, hash: Int64, position: Int)]
    private let times: [Instant]

    init(_ groups: [TenantGroup]) {
        var starts: [Int] = []
        var counts: [TenantID: Int64] = [:]
        var firstClaims: [(identity: TenantEventKey, hash: Int64, position: Int)] = []
        var repeats: [(identity: TenantEventKey, hash: Int64, position: Int)] = []
        var times: [Instant] = []
        var seen: Set<TenantEventKey> = []
        let count = groups.reduce(0) { $0 + $1.events.count }
        firstClaims.reserveCapacity(count)
        times.reserveCapacity(count)
        seen.reserveCapacity(count)
        var position = 0
        for group in groups {
            starts.append(position)
            counts[group.tenant.id, default: 0] += Int64(group.events.count)
            for pending in group.events {
                let identity = TenantEventKey(tenant: group.tenant.id, key: pending.event.key)
                if seen.insert(identity).inserted {
                    firstClaims.append((identity, pending.event.contentHash, position))
                    times.append(pending.time)
                } else {
                    repeats.append((identity, pending.event.contentHash, position))
                }
                position += 1
            }
        }
        self.starts = starts
        self.ledgerCounts = counts
        self.firstClaims = firstClaims
        self.repeats = repeats
        self.times = times
        verdicts = Array(repeating: .fresh, count: position)
    }

    var claim: SQL {
        DedupStore.claim(
            tenants: firstClaims.map(\.identity.tenant),
            keys: firstClaims.map(\.identity.key),
            hashes: firstClaims.map(\.hash),
            times: times
        )
    }

    /// Judges every event from the keys that were free, reading the content hashes of the others.
    mutating func settle(claimed: PostgresResult, in transaction: borrowing Transaction) throws {
        var taken: [(identity: TenantEventKey, hash: Int64, position: Int)] = []
        if claimed.rowCount < firstClaims.count {
            let free = Set(try claimed.map(DedupStore.decodeClaim))
            taken = firstClaims.filter { !free.contains($0.identity) }
        }
        let sentBefore = taken + repeats
        guard !sentBefore.isEmpty else { return }

        var firstHashes: [TenantEventKey: Int64] = [:]
        for claim in firstClaims {
            firstHashes[claim.identity] = claim.hash
        }
        if !taken.isEmpty {
            let existing = try transaction.query(
                DedupStore.existing(
                    tenants: taken.map(\.identity.tenant),
                    keys: taken.map(\.identity.key)
                )
            ) { row throws(PostgresError) in
                (TenantEventKey(tenant: try row.next(), key: try row.next()), try row.next(Int64.self))
            }
            for (identity, hash) in existing {
                firstHashes[identity] = hash
            }
        }
        for event in sentBefore {
            verdicts[event.position] = firstHashes[event.identity] == event.hash ? .duplicate : .conflict
        }
    }

    func isFresh(group: Int, event: Int) -> Bool {
        verdicts[starts[group] + event] == .fresh
    }

    /// What the senders are told of the events that were not plainly accepted.
    /// - Parameter remarked: is told of each event that was accepted with a remark.
    func notices(
        _ groups: [TenantGroup],
        remarked: (PendingEvent, EventStatus, TenantSnapshot) -> Void
    ) -> [EventNotice] {
        var notices: [EventNotice] = []
        for (groupIndex, group) in groups.enumerated() {
            for (eventIndex, pending) in group.events.enumerated() {
                let verdict = verdicts[starts[groupIndex] + eventIndex]
                let status: EventStatus? =
                    switch verdict {
                    case .fresh: pending.remark
                    case .duplicate: .duplicate
                    case .conflict: .conflict
                    }
                guard let status else { continue }
                if verdict == .fresh { remarked(pending, status, group.tenant) }
                notices.append(EventNotice(pending, status, of: group))
            }
        }
        return notices
    }
}
