import Dispatch
import Synchronization

/// The connections of one lane and the callers that wait for one, first come, first served.
///
/// Every waiter leaves by exactly one of four ways: it is handed a connection, its wait times out, its task is
/// cancelled, or the lane closes.
final class Lane: Sendable {
    typealias Continuation = CheckedContinuation<PostgresConnection, any Error>

    private struct State {
        var idle: [PostgresConnection] = []
        var open = 0
        var isClosed = false
        var lastWaiter: UInt64 = 0
        var waiters: [UInt64: Continuation] = [:]
        /// In order of arrival; those that are no longer in `waiters` are passed over.
        var arrivals = Arrivals()
        /// Waiters cancelled before they were enrolled.
        var cancelled: Set<UInt64> = []
        var isTimerSet = false
        var closers: [CheckedContinuation<Void, Never>] = []
        var counters = PostgresLaneStatistics()

        var inUse: Int { open - idle.count }
    }

    private enum Offer {
        case connection(PostgresConnection)
        case opening
        case mustWait
        case refused(PostgresError)
    }

    let lane: PostgresLane
    private let limits: PostgresLaneLimits
    private let makeConnection: @Sendable () throws(PostgresError) -> PostgresConnection
    private let state = Mutex(State())

    init(
        _ lane: PostgresLane,
        limits: PostgresLaneLimits,
        makeConnection: @escaping @Sendable () throws(PostgresError) -> PostgresConnection
    ) {
        self.lane = lane
        self.limits = limits
        self.makeConnection = makeConnection
    }

    /// A connection that is the caller's alone until `release`.
    func acquire() async throws(PostgresError) -> PostgresConnection {
        switch state.withLock({ offer(&$0) }) {
        case .connection(let connection): return connection
        case .opening: return try open()
        case .refused(let error): throw error
        case .mustWait: return try await wait()
        }
    }

    /// Gives a connection back. One whose use failed goes to the end of the line, behind those known to be well.
    func release(_ connection: PostgresConnection, isHealthy: Bool = true) {
        let next = state.withLock { state -> (Continuation?, [CheckedContinuation<Void, Never>]) in
            if state.isClosed {
                state.open -= 1
                return (nil, Self.takeClosers(&state))
            }
            while let arrival = state.arrivals.popFirst() {
                guard let waiter = state.waiters.removeValue(forKey: arrival.waiter) else { continue }
                state.counters.waitNanoseconds += DispatchTime.now().uptimeNanoseconds - arrival.time
                state.counters.leases += 1
                return (waiter, [])
            }
            state.idle.insert(connection, at: isHealthy ? state.idle.count : 0)
            return (nil, [])
        }
        next.0?.resume(returning: connection)
        next.1.forEach { $0.resume() }
    }

    /// Refuses new callers, sends away those that wait, and returns when the last connection came back.
    func close() async {
        let waiters = state.withLock { state in
            state.isClosed = true
            defer { state.waiters = [:] }
            state.open -= state.idle.count
            state.idle = []
            return Array(state.waiters.values)
        }
        waiters.forEach { $0.resume(throwing: Self.closedError) }
        await withCheckedContinuation { continuation in
            let closers = state.withLock { state in
                state.closers.append(continuation)
                return Self.takeClosers(&state)
            }
            closers.forEach { $0.resume() }
        }
    }

    var hasWaiters: Bool { state.withLock { !$0.waiters.isEmpty } }

    /// The present numbers.
    var statistics: PostgresLaneStatistics {
        state.withLock { state in
            var snapshot = state.counters
            snapshot.limit = limits.connections
            snapshot.inUse = state.inUse
            snapshot.idle = state.idle.count
            snapshot.waiting = state.waiters.count
            return snapshot
        }
    }

    // MARK: - Offers

    private static let closedError = PostgresError(.connection, "the connection pool is closed")

    private func offer(_ state: inout State) -> Offer {
        if state.isClosed {
            return .refused(Self.closedError)
        }
        if let connection = state.idle.popLast() {
            state.counters.leases += 1
            return .connection(connection)
        }
        if state.open < limits.connections {
            state.open += 1
            return .opening
        }
        if state.waiters.count >= limits.waiting {
            state.counters.refusals += 1
            return .refused(
                PostgresError(.poolExhausted, "\(state.waiters.count) callers already wait in lane \(lane.rawValue)")
            )
        }
        return .mustWait
    }

    private func open() throws(PostgresError) -> PostgresConnection {
        do throws(PostgresError) {
            let connection = try makeConnection()
            state.withLock { $0.counters.leases += 1 }
            return connection
        } catch {
            let closers = state.withLock { state in
                state.open -= 1
                return Self.takeClosers(&state)
            }
            closers.forEach { $0.resume() }
            throw error
        }
    }

    private static func takeClosers(_ state: inout State) -> [CheckedContinuation<Void, Never>] {
        guard state.isClosed, state.open == 0 else { return [] }
        defer { state.closers = [] }
        return state.closers
    }

    // MARK: - Waiting

    private func wait() async throws(PostgresError) -> PostgresConnection {
        let waiter = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        // A cancellation that comes after the connection leaves its mark, too.
        defer { state.withLock { _ = $0.cancelled.remove(waiter) } }
        do {
            return try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { enroll(waiter, $0) }
            } onCancel: {
                cancel(waiter)
            }
        } catch {
            throw error as? PostgresError ?? PostgresError(.cancelled, "the task was cancelled")
        }
    }

    /// Looks again under the lock, because a connection may have come back since.
    private func enroll(_ waiter: UInt64, _ continuation: Continuation) {
        let offered = state.withLock { state -> Offer in
            if state.cancelled.remove(waiter) != nil {
                return .refused(PostgresError(.cancelled, "the task was cancelled"))
            }
            let offered = offer(&state)
            guard case .mustWait = offered else { return offered }
            state.waiters[waiter] = continuation
            state.arrivals.append(Arrivals.Arrival(waiter: waiter, time: DispatchTime.now().uptimeNanoseconds))
            state.counters.waits += 1
            if !state.isTimerSet {
                state.isTimerSet = true
                setTimer(nanoseconds: timeoutNanoseconds)
            }
            return offered
        }
        switch offered {
        case .mustWait: break
        case .connection(let connection): continuation.resume(returning: connection)
        case .refused(let error): continuation.resume(throwing: error)
        case .opening: continuation.resume(with: Result { try open() })
        }
    }

    private func cancel(_ waiter: UInt64) {
        let continuation = state.withLock { state in
            let continuation = state.waiters.removeValue(forKey: waiter)
            if continuation == nil {
                state.cancelled.insert(waiter)
            }
            return continuation
        }
        continuation?.resume(throwing: PostgresError(.cancelled, "the task was cancelled"))
    }

    // MARK: - Timeouts

    private var timeoutNanoseconds: UInt64 { UInt64(max(0, limits.waitTimeoutMilliseconds)) * 1_000_000 }

    /// One timer for the lane: all waits are equally long, so the first to arrive is the first to expire.
    private func setTimer(nanoseconds: UInt64) {
        let deadline = DispatchTime.now() + .nanoseconds(Int(clamping: nanoseconds))
        DispatchQueue.global().asyncAfter(deadline: deadline) { [weak self] in self?.expire() }
    }

    private func expire() {
        let now = DispatchTime.now().uptimeNanoseconds
        let expired = state.withLock { state in
            var expired: [Continuation] = []
            while let arrival = state.arrivals.first {
                let isWaiting = state.waiters[arrival.waiter] != nil
                let deadline = arrival.time + timeoutNanoseconds
                if isWaiting && deadline > now {
                    setTimer(nanoseconds: deadline - now)
                    return expired
                }
                _ = state.arrivals.popFirst()
                if let continuation = state.waiters.removeValue(forKey: arrival.waiter) {
                    state.counters.timeouts += 1
                    state.counters.waitNanoseconds += now - arrival.time
                    expired.append(continuation)
                }
            }
            state.isTimerSet = false
            return expired
        }
        let error = PostgresError(
            .poolExhausted,
            "no connection of lane \(lane.rawValue) became free in \(limits.waitTimeoutMilliseconds) ms"
        )
        expired.forEach { $0.resume(throwing: error) }
    }
}

/// A queue of waiters in order of arrival.
private struct Arrivals {
    struct Arrival {
        let waiter: UInt64
        let time: UInt64
    }

    private var items: [Arrival] = []
    private var head = 0

    var first: Arrival? { head < items.count ? items[head] : nil }

    mutating func append(_ arrival: Arrival) {
        items.append(arrival)
    }

    mutating func popFirst() -> Arrival? {
        guard let arrival = first else { return nil }
        head += 1
        if head == items.count || head >= 64 && head * 2 >= items.count {
            items.removeFirst(head)
            head = 0
        }
        return arrival
    }
}
