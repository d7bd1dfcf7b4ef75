import BillingCore
import Catalog
import DequeModule
import Limits
import Postgres
import Synchronization
import Usage
import Web

/// One lane of admission: calls wait here while others are decided, and all that wait are decided in the next
/// transaction. A tenant's calls take the same lane of a replica, so its lanes do not wait for each other's rows.
final class AdmissionLane: Sendable {
    private struct Waiting: Sendable {
        let request: AdmissionRequest
        let ticket: Ticket<AdmissionOutcome>
        let deadline: ContinuousClock.Instant

        /// Those of the rows that the call touches.
        func rows(among rows: Set<LimitRow>) -> Set<LimitRow> {
            Set(request.holds.lazy.map(\.row).filter(rows.contains))
        }
    }

    private struct State {
        var queue: FairQueue<TenantID, Waiting>
        /// Those who may still wait, in the order of their deadlines.
        var deadlines: Deque<(at: ContinuousClock.Instant, ticket: Ticket<AdmissionOutcome>)> = []
        /// Batches whose calls are to be decided one by one.
        var apart: [[Waiting]] = []
        /// Calls that others' locks may hold up.
        var heldUp: [Waiting] = []
        var isClosed = false
    }

    static let flushedCalls = 256
    /// A flush of several calls touches no more rows: whoever has one among many waits for all their rows.
    private static let flushedRows = 2_048
    private static let sweep = Duration.milliseconds(10)
    /// One whose time is up sooner is not decided at once with others: such a flush is decided anew when a caller goes.
    private static let haste = Duration.milliseconds(25)

    private let state: Mutex<State>
    private let bell: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation
    private let decider: AdmissionDecider
    private let unanswered: UnansweredReservations

    init(decider: AdmissionDecider, unanswered: UnansweredReservations, queuedCalls: Int) {
        let room = QueueLoad(count: queuedCalls, size: .max)
        state = Mutex(State(queue: FairQueue(room: room, turn: QueueLoad(count: 16, size: 256))))
        self.decider = decider
        self.unanswered = unanswered
        (bell, ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// The decision on a call.
    /// - Throws: `AdmissionRefusal` when there is none in time, and what failed the flush.
    func decide(_ request: AdmissionRequest, by deadline: ContinuousClock.Instant) async throws -> AdmissionOutcome {
        let ticket = Ticket<AdmissionOutcome>()
        return try await ticket.wait { enqueue(request, ticket, deadline) }
    }

    private func enqueue(
        _ request: AdmissionRequest,
        _ ticket: Ticket<AdmissionOutcome>,
        _ deadline: ContinuousClock.Instant
    ) -> (any Error)? {
        let refusal = state.withLock { state -> AdmissionRefusal? in
            if state.isClosed { return .stopping }
            let waiting = Waiting(request: request, ticket: ticket, deadline: deadline)
            let load = QueueLoad(count: 1, size: request.weight)
            guard state.queue.append(waiting, of: request.tenant.id, taking: load) else { return .queueFull }
            // Calls come nearly in the order of their deadlines.
            let after = state.deadlines.lastIndex { $0.at <= deadline }.map { $0 + 1 } ?? 0
            state.deadlines.insert((deadline, ticket), at: after)
            AdmissionMetrics.countQueued()
            return nil
        }
        if refusal == nil { ring.yield() }
        return refusal
    }

    /// Decides until the lane is closed and empty.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in await sendLateAway() }
            for await _ in bell { await decideAll() }
            close()
            await decideAll()
            group.cancelAll()
        }
    }

    /// Answers those who have waited too long, whatever the transaction that they are in does.
    private func sendLateAway() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.sweep)
            let late = state.withLock { state in
                var late: [Ticket<AdmissionOutcome>] = []
                let now = ContinuousClock.now
                while let next = state.deadlines.first, next.at <= now || next.ticket.isAbandoned {
                    late.append(next.ticket)
                    state.deadlines.removeFirst()
                }
                return late
            }
            late.forEach { $0.finish(.failure(AdmissionRefusal.tooLate)) }
        }
    }

    func close() {
        state.withLock { $0.isClosed = true }
        ring.finish()
    }

    /// Batches that are likely to be admitted are decided on each other's heels on the connection's thread, and those
    /// that turn out otherwise one by one.
    private func decideAll() async {
        while hasWaiting {
            do {
                let failed = try await decider.pool.chain(.admission) { [self] in
                    takeTogether()
                } _: { [decider] batch, transaction in
                    try decider.admitAll(
                        batch.map(\.request),
                        by: batch.map(\.deadline).min() ?? .now,
                        isAbandoned: { batch[$0].ticket.isAbandoned },
                        in: transaction
                    )
                } done: { [self] batch, outcomes in
                    finish(batch, outcomes)
                }
                failed.forEach(leave)
            } catch {
                // There is no connection: one by one it is tried again for a while.
                if let batch = take() { setApart(batch) }
            }
            for batch in takeApart() { await decide(batch) }
            await decideHeldUp(takeHeldUp())
        }
    }

    private var hasWaiting: Bool { state.withLock { !$0.queue.isEmpty || !$0.apart.isEmpty || !$0.heldUp.isEmpty } }

    /// Some of those that wait.
    private func take() -> [Waiting]? {
        while true {
            let taken = state.withLock { $0.queue.take(QueueLoad(count: Self.flushedCalls, size: Self.flushedRows)) }
            if taken.isEmpty { return nil }
            AdmissionMetrics.countTaken(taken.count)
            let batch = taken.filter { !$0.ticket.isAbandoned }
            if !batch.isEmpty { return batch }
        }
    }

    /// The next batch that is likely to be admitted; nil where there is none, or others have to be decided first.
    private func takeTogether() -> [Waiting]? {
        guard state.withLock({ $0.apart.isEmpty && $0.heldUp.isEmpty }), let batch = take() else { return nil }
        let soon = ContinuousClock.now + Self.haste
        var (together, apart, heldUp): ([Waiting], [Waiting], [Waiting]) = ([], [], [])
        let heldUpRows = decider.heldUp.current
        for (waiting, isLikely) in zip(batch, decider.likelyAdmitted(batch.map(\.request))) {
            if !heldUpRows.isEmpty, waiting.request.holds.contains(where: { heldUpRows.contains($0.row) }) {
                heldUp.append(waiting)
            } else if isLikely, waiting.deadline > soon {
                together.append(waiting)
            } else {
                apart.append(waiting)
            }
        }
        setHeldUp(heldUp)
        setApart(apart)
        return together.isEmpty ? nil : together
    }

    private func setApart(_ batch: [Waiting]) {
        if !batch.isEmpty { state.withLock { $0.apart.append(batch) } }
    }

    private func takeApart() -> [[Waiting]] {
        state.withLock { state in
            defer { state.apart = [] }
            return state.apart
        }
    }

    /// Among them those whose callers have gone meanwhile: their rows tell what is locked.
    private func setHeldUp(_ batch: [Waiting]) { state.withLock { $0.heldUp += batch } }

    private func takeHeldUp() -> [Waiting] {
        state.withLock { state in
            defer { state.heldUp = [] }
            return state.heldUp
        }
    }

    /// Where a caller was refused meanwhile its reservation stays: whoever asks again under its id gets it, and
    /// otherwise it expires.
    private func finish(_ batch: [Waiting], _ outcomes: [AdmissionOutcome]) {
        for (waiting, outcome) in zip(batch, outcomes) where !waiting.ticket.finish(.success(outcome)) {
            guard case .allowed(let made?, _, _) = outcome, !waiting.request.failsClosed else { continue }
            unanswered.add(made)
        }
    }

    /// Calls that may have been committed, and whose callers are told that nothing is held unless it is found in time.
    private func noteUnknown(_ batch: [Waiting]) {
        for waiting in batch where !waiting.request.failsClosed {
            if let wanted = waiting.request.wanted { unanswered.add(wanted.reservation) }
        }
    }

    private static func finish(_ batch: [Waiting], _ error: any Error) {
        for waiting in batch { waiting.ticket.finish(.failure(error)) }
    }

    /// Sends back those calls of a batch that were prepared with what is out of date, to be prepared anew.
    /// - Returns: the others, which are to be decided: who changes what is known of one tenant, over and over, keeps
    ///   nobody else waiting.
    private func sendBack(_ batch: [Waiting], _ stale: StaleCatalog) -> [Waiting] {
        decider.avoid(stale.tenants)
        let isConcerned = { (waiting: Waiting) in
            stale.shared || stale.tenants.contains(waiting.request.tenant.id)
        }
        // What concerns none of them would come back for ever.
        guard batch.contains(where: isConcerned) else {
            Self.finish(batch, stale)
            return []
        }
        Self.finish(batch.filter(isConcerned), stale)
        return batch.filter { !isConcerned($0) }
    }

    /// A batch that was not admitted at once is looked at one by one, unless it would fail there like here.
    private func leave(_ batch: [Waiting], _ error: any Error) {
        if (error as? PostgresError)?.outcomeUnknown == true || error is CommittedOtherwise { noteUnknown(batch) }
        if error.isLockTimeout {
            setHeldUp(batch)
        } else if error is NotAllAdmitted || error is CommittedOtherwise || error is PostgresError || error.isOfData {
            setApart(batch)
        } else if let stale = error as? StaleCatalog {
            setApart(sendBack(batch, stale))
        } else {
            Self.finish(batch, error)
        }
    }

    /// Those that nobody waits for any more, as after an outage, hold up nobody.
    private func decide(_ waiting: [Waiting]) async {
        let now = ContinuousClock.now
        Self.finish(waiting.filter { $0.deadline <= now }, AdmissionRefusal.tooLate)
        let batch = waiting.filter { !$0.ticket.isAbandoned }
        guard !batch.isEmpty else { return }
        do {
            try await decide(batch, waiting: decider.heldUp.patience)
        } catch  where error.isLockTimeout {
            setHeldUp(batch)
        } catch  where batch.count > 1 && error.isOfData {
            // One call's data must not fail its neighbours: halve until it stands alone.
            let middle = batch.count / 2
            await decide(Array(batch[..<middle]))
            await decide(Array(batch[middle...]))
        } catch let stale as StaleCatalog {
            await decide(sendBack(batch, stale))
        } catch {
            Self.finish(batch, error)
        }
    }

    private func decide(_ batch: [Waiting], waiting patience: Duration) async throws {
        let outcomes = try await decider.decide(batch.map(\.request), waiting: patience) {
            batch[$0].ticket.isAbandoned
        }
        finish(batch, outcomes)
    }

    /// Calls that touch rows which others have locked for long, or may do so. Those that do not are decided. The others
    /// are waited for once more: those whose own rows are locked briefly, and apart from those who only touch a row of
    /// the operator's, which is often locked for a moment.
    private func decideHeldUp(_ waiting: [Waiting]) async {
        guard !waiting.isEmpty else { return }
        let locks: LimitRowLocks
        do {
            locks = try await decider.locks(of: waiting.map(\.request))
        } catch {
            return Self.finish(waiting, error)
        }
        let heldUp = decider.heldUp
        let touched = waiting.lazy.flatMap { $0.request.holds.lazy.map(\.row) }
        heldUp.clear(touched.filter { !locks.locked.contains($0) && !locks.unmade.contains($0) })
        var (free, unsure, shared, own): ([Waiting], [Waiting], [Waiting], [Waiting]) = ([], [], [], [])
        var vain: Set<LimitRow> = []
        for call in waiting {
            let locked = call.rows(among: locks.locked)
            let unmade = call.rows(among: locks.unmade)
            if call.ticket.isAbandoned {
                // It has waited in vain, and asks no more.
                vain.formUnion(locked.filter { !$0.isShared })
            } else if heldUp.isPaused(locked.union(unmade)) {
                Self.finish([call], AdmissionRefusal.rowsLocked)
            } else if locked.contains(where: { !$0.isShared }) {
                own.append(call)
            } else if !locked.isEmpty {
                shared.append(call)
            } else if !unmade.isEmpty {
                unsure.append(call)
            } else {
                free.append(call)
            }
        }
        heldUp.note(vain)
        await decideEach(free, waiting: heldUp.patience, for: [])
        await decideEach(unsure, waiting: heldUp.briefPatience, for: locks.unmade)
        let ofOperator = shared.reduce(into: Set()) { $0.formUnion($1.rows(among: locks.locked)) }
        switch await attempt(shared, waiting: heldUp.patience) {
        case .decided: heldUp.clear(ofOperator)
        case .inVain: refuse(shared, noting: ofOperator)
        case .notTried: break
        }
        await decideEach(own, waiting: heldUp.briefPatience, for: locks.locked)
    }

    /// Calls of a tenant that touch the same rows which may be locked.
    private struct Rivals: Hashable {
        let tenant: TenantID
        let rows: Set<LimitRow>
    }

    /// Decides calls together, or, where a row is waited for in vain, those that touch the same by themselves, so that
    /// they are refused and no others.
    /// - Parameter suspects: rows that may be locked.
    private func decideEach(_ batch: [Waiting], waiting patience: Duration, for suspects: Set<LimitRow>) async {
        let heldUp = decider.heldUp
        let rivals = Dictionary(grouping: batch) { call in
            Rivals(tenant: call.request.tenant.id, rows: call.rows(among: suspects))
        }
        switch await attempt(batch, waiting: patience) {
        case .decided: return heldUp.clear(rivals.keys.flatMap(\.rows))
        case .notTried: return
        case .inVain: break
        }
        // Who waited in vain for a row of the operator's, too: one tenant's own may be to blame, those of two hardly.
        var sufferers: [LimitRow: TenantID] = [:]
        for (those, calls) in rivals.sorted(by: { $0.key.rows.count < $1.key.rows.count }) {
            if heldUp.isPaused(those.rows) {
                refuse(calls, noting: [])
                continue
            }
            let outcome = rivals.count > 1 ? await attempt(calls, waiting: heldUp.briefPatience) : .inVain
            switch outcome {
            case .decided: heldUp.clear(those.rows)
            case .notTried: break
            case .inVain:
                let (shared, own) = (those.rows.filter(\.isShared), those.rows.filter { !$0.isShared })
                let blamed = shared.filter { sufferers[$0].map { $0 != those.tenant } ?? own.isEmpty }
                for row in shared { sufferers[row] = those.tenant }
                refuse(calls, noting: own.union(blamed))
            }
        }
    }

    private enum Attempt {
        case decided
        /// Rows were waited for in vain that others have locked.
        case inVain
        /// Nobody waits for it any more, or something else is in the way, which is dealt with.
        case notTried
    }

    private func attempt(_ waiting: [Waiting], waiting patience: Duration) async -> Attempt {
        let batch = waiting.filter { !$0.ticket.isAbandoned }
        guard !batch.isEmpty else { return .notTried }
        do {
            try await decide(batch, waiting: patience)
            return .decided
        } catch  where error.isLockTimeout {
            return .inVain
        } catch {
            leave(batch, error)
            return .notTried
        }
    }

    private func refuse(_ batch: [Waiting], noting rows: Set<LimitRow>) {
        decider.heldUp.note(rows)
        Self.finish(batch, AdmissionRefusal.rowsLocked)
    }
}

extension LimitRow {
    fileprivate var isShared: Bool { tenant == .operatorWide }
}
