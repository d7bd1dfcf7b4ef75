import BillingCore
import DequeModule

/// Calls that wait for their turn: those of a tenant in the order in which they came, and tenants in turn, so that one
/// that asks for very much keeps the others neither waiting nor out.
struct FairQueue<Call> {
    /// How many wait at most, and how many of one tenant.
    static var capacity: Int { 10_000 }
    static var share: Int { capacity / 4 }
    /// How many of a tenant are taken before the next tenant's, and how many rows these touch, unless it is one call.
    private static var turn: Int { 16 }
    private static var turnRows: Int { 256 }

    private struct Entry {
        let call: Call
        let rows: Int
    }

    private var calls: [TenantID: Deque<Entry>] = [:]
    /// Those who wait, each once.
    private var turns: Deque<TenantID> = []
    private var count = 0

    var isEmpty: Bool { count == 0 }

    /// - Parameter rows: how many rows of limits it touches.
    /// - Returns: false where there is no room for it.
    mutating func append(_ call: Call, of tenant: TenantID, touching rows: Int) -> Bool {
        guard count < Self.capacity else { return false }
        let waiting = calls[tenant]?.count ?? 0
        guard waiting < Self.share else { return false }
        if waiting == 0 { turns.append(tenant) }
        calls[tenant, default: []].append(Entry(call: call, rows: rows))
        count += 1
        return true
    }

    /// Takes as many as there are, up to a limit, until they touch so many rows.
    mutating func take(_ limit: Int, touching rows: Int) -> [Call] {
        var taken: [Call] = []
        taken.reserveCapacity(min(limit, count))
        var rowsLeft = rows
        while taken.count < limit, rowsLeft > 0, let tenant = turns.popFirst(),
            var own = calls.removeValue(forKey: tenant)
        {
            var room = (calls: min(Self.turn, limit - taken.count), rows: min(Self.turnRows, rowsLeft))
            repeat {
                guard let next = own.popFirst() else { break }
                taken.append(next.call)
                rowsLeft -= next.rows
                room = (room.calls - 1, room.rows - next.rows)
            } while room.calls > 0 && own.first.map { $0.rows <= room.rows } ?? false
            guard !own.isEmpty else { continue }
            calls[tenant] = own
            turns.append(tenant)
        }
        count -= taken.count
        return taken
    }
}
