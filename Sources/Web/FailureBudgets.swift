import BillingCore

/// How many failures each of many callers has left: so many at once, and as many again spread over every minute after.
/// It is the generic cell rate algorithm (ITU-T I.371), which keeps one instant per caller, in bounded memory: where
/// there is no room for another, the newcomers share one budget.
struct FailureBudgets<Caller: Hashable & Sendable>: Sendable {
    static var windowMicroseconds: Int64 { 60_000_000 }

    let failures: Int
    private let capacity: Int
    /// When each budget is whole again. One that is whole needs no entry.
    private var wholeAt: [Caller: Int64] = [:]
    private var newcomersWholeAt: Int64 = 0
    private var sweptAt = Int64.min

    /// - Parameter failures: at least one.
    init(failures: Int, capacity: Int) {
        self.failures = failures
        self.capacity = capacity
    }

    /// Nil while something is left; else the seconds until there is.
    func secondsUntilNext(_ caller: Caller, now: Instant) -> Int? {
        let wait = debt(caller, now) + cost - Self.windowMicroseconds
        return wait > 0 ? Int(Int64(secondsCovering: wait)) : nil
    }

    func remaining(_ caller: Caller, now: Instant) -> Int {
        Int((Self.windowMicroseconds - debt(caller, now)) / cost)
    }

    /// Takes one failure off; from an empty budget nothing more, so that insisting makes nobody wait longer.
    mutating func spend(_ caller: Caller, now: Instant) {
        guard secondsUntilNext(caller, now: now) == nil else { return }
        let next = now.microseconds + debt(caller, now) + cost
        if wholeAt[caller] == nil, wholeAt.count >= capacity { sweep(now) }
        if wholeAt[caller] != nil || wholeAt.count < capacity {
            wholeAt[caller] = next
        } else {
            newcomersWholeAt = next
        }
    }

    private var cost: Int64 { Self.windowMicroseconds / Int64(failures) }

    private func debt(_ caller: Caller, _ now: Instant) -> Int64 {
        let known = wholeAt[caller] ?? (wholeAt.count < capacity ? 0 : newcomersWholeAt)
        return max(0, known - now.microseconds)
    }

    /// Forgets the budgets that are whole, at most once a second: looking through all of them is what it costs.
    private mutating func sweep(_ now: Instant) {
        guard now.microseconds >= sweptAt &+ 1_000_000 || sweptAt > now.microseconds else { return }
        sweptAt = now.microseconds
        wholeAt = wholeAt.filter { $0.value > now.microseconds }
    }
}
