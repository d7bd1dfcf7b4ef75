import BillingCore
import Catalog
import Logging
import Postgres
import Synchronization
import Web

/// One lane of ingest: requests wait here while a flush runs, and everything that waits is stored in the next one.
/// Events take the lane of their tenant, so that lanes seldom compete for a ledger; only requests of few events, and
/// those that a counter may refuse, are stored by one lane for several tenants. Where more waits than a flush takes,
/// tenants take turns (ADR 0034).
final class IngestLane: Sendable {
    /// What one request hands to the lane.
    struct Submission: Sendable {
        var prepared: IngestPreparation.Prepared
        let boundTo: TenantID?

        /// Whose turn it takes. What an operator reports of several tenants, or of nobody known, is nobody's (nil).
        fileprivate var tenant: TenantID? {
            prepared.unmatched.isEmpty && prepared.groups.count == 1 ? prepared.groups[0].tenant.id : nil
        }
    }

    private struct Waiting: Sendable {
        let submission: Submission
        /// Its events, and the bytes of their text.
        let load: QueueLoad
        let answer: CheckedContinuation<Result<[EventNotice], any Error>, Never>
    }

    private struct State {
        var queue: FairQueue<TenantID?, Waiting>
        /// How many are being stored, and when it was last seen that this goes on.
        var storedEvents = 0
        var movedAt = ContinuousClock.now
        var isClosed = false
    }

    private let state: Mutex<State>
    private let bell: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation
    private let preparation: IngestPreparation
    private let ledgers: HeldLedgers
    private let limits: IngestLimits
    private let metrics: IngestMetrics
    private let logger: Logger

    init(
        preparation: IngestPreparation,
        ledgers: HeldLedgers,
        limits: IngestLimits,
        metrics: IngestMetrics,
        logger: Logger
    ) {
        self.preparation = preparation
        self.ledgers = ledgers
        self.limits = limits
        self.metrics = metrics
        self.logger = logger
        state = Mutex(State(queue: FairQueue(room: limits.queued, turn: limits.flushed.divided(by: Self.turnsOfFlush))))
        (bell, ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Waits until the events are committed.
    /// - Throws: `IngestRefusal.queueFull` at once when the lane has no room, or as much of the tenant's waits as may,
    ///   `LedgersHeld` when somebody holds a ledger for long, and whatever failed the flush.
    func store(_ submission: Submission) async throws -> [EventNotice] {
        let load = QueueLoad(count: submission.prepared.eventCount, size: submission.prepared.byteCount)
        let tenant = submission.tenant
        let result = await withCheckedContinuation { answer in
            let refusal = state.withLock { state -> IngestRefusal? in
                if state.isClosed { return .stopping }
                let waiting = Waiting(submission: submission, load: load, answer: answer)
                let isQueued = state.queue.append(waiting, of: tenant, taking: load, isBounded: tenant != nil)
                guard isQueued else { return .queueFull }
                metrics.queued(by: load.count)
                return nil
            }
            if let refusal {
                answer.resume(returning: .failure(refusal))
            } else {
                ring.yield()
            }
        }
        return try result.get()
    }

    /// How many requests wait for the next flush.
    var waitingCount: Int { state.withLock { $0.queue.count } }

    /// Whether others do better to take another lane: much is waiting or being stored, or nothing gets on, because
    /// somebody holds a tenant's ledger.
    var isCrowded: Bool {
        state.withLock { state in
            let events = state.queue.load.count + state.storedEvents
            return events >= min(Self.crowd, limits.flushEvents, limits.queuedEvents / 2)
                || state.storedEvents > 0 && state.movedAt.duration(to: .now) > Self.stall
        }
    }

    private static let turnsOfFlush = 8
    private static let crowd = 250
    private static let stall = Duration.milliseconds(50)

    /// Flushes until the lane is closed and empty.
    func run() async {
        for await _ in bell {
            await flushAll()
        }
        // A request may have come in between the last ring and the end of the bell.
        close()
        await flushAll()
    }

    /// Stores what waits, one flush on the heels of the other on the connection's thread. What fails there is tried
    /// again by itself.
    private func flushAll() async {
        while waitingCount > 0 {
            do {
                let failed = try await preparation.pool.chain(.ingest) { [self] in
                    takeFree()
                } _: { [self] batch, transaction in
                    let flush = try merged(batch.map(\.submission))
                    transaction.waitForLocks(atMost: HeldLedgers.patience)
                    return Commit((flush, try flush.run(in: transaction)))
                } done: { [self] batch, stored in
                    metrics.flushed(stored.0)
                    finish(batch, stored.1)
                }
                for (batch, error) in failed {
                    if error.isLockTimeout {
                        await flushApart(batch)
                    } else if batch.count == 1, error.isOverflow {
                        // A request that makes a counter overflow would do so again.
                        refuse(batch, error)
                    } else {
                        await flush(batch)
                    }
                }
            } catch {
                // There is no connection: for a while it is tried again.
                if let batch = takeFree() { await flush(batch) }
            }
        }
    }

    private func merged(_ submissions: [Submission]) throws(StaleCatalog) -> IngestFlush {
        try IngestFlush(
            merging: submissions.map(\.prepared),
            limits: preparation.limits,
            at: preparation.clock.now()
        )
    }

    private func finish(_ batch: [Waiting], _ notices: [EventNotice]) {
        leave(batch)
        let byRequest = Dictionary(grouping: notices, by: \.submission)
        for (position, waiting) in batch.enumerated() {
            waiting.answer.resume(returning: .success(byRequest[position] ?? []))
        }
    }

    /// Takes note that a batch is not being stored any more.
    private func leave(_ batch: [Waiting]) {
        let events = batch.reduce(0) { $0 + $1.load.count }
        state.withLock { state in
            state.storedEvents -= events
            state.movedAt = .now
        }
    }

    /// Takes no more requests; what waits is still stored.
    func close() {
        state.withLock { $0.isClosed = true }
        ring.finish()
    }

    /// What waits of tenants whose ledger is not known to be held; the rest leaves the lane. Nil where nothing waits.
    private func takeFree() -> [Waiting]? {
        while true {
            let batch = take()
            guard !batch.isEmpty else { return nil }
            let free = leavingHeld(batch, ledgers.known(among: batch.lazy.flatMap(\.submission.prepared.tenants)))
            if !free.isEmpty { return free }
        }
    }

    /// Lets requests go of tenants whose ledger is held.
    /// - Returns: the others.
    private func leavingHeld(_ batch: [Waiting], _ held: Set<TenantID>) -> [Waiting] {
        guard !held.isEmpty else { return batch }
        let apart = batch.filter { !$0.submission.prepared.tenants.isDisjoint(with: held) }
        leave(apart)
        for waiting in apart { waiting.answer.resume(returning: .failure(LedgersHeld(tenants: held))) }
        return batch.filter { $0.submission.prepared.tenants.isDisjoint(with: held) }
    }

    private func take() -> [Waiting] {
        let (batch, events) = state.withLock { state in
            let waiting = state.queue.load.count
            let batch = state.queue.take(limits.flushed)
            let events = waiting - state.queue.load.count
            if state.storedEvents == 0 { state.movedAt = .now }
            state.storedEvents += events
            return (batch, events)
        }
        metrics.queued(by: -events)
        return batch
    }

    /// - Parameter isPatient: whether it waits for what others have locked as long as a statement may.
    private func flush(_ batch: [Waiting], isPatient: Bool = false) async {
        do {
            finish(batch, try await store(batch.map(\.submission), isPatient: isPatient))
        } catch  where batch.count > 1 && error.isDataError {
            // One request's data must not fail its neighbours: halve until it stands alone.
            let middle = batch.count / 2
            await flush(Array(batch[..<middle]), isPatient: isPatient)
            await flush(Array(batch[middle...]), isPatient: isPatient)
        } catch  where !isPatient && error.isLockTimeout {
            await flushApart(batch)
        } catch {
            refuse(batch, error)
        }
    }

    /// Stores what somebody's lock kept waiting without those requests whose tenants' ledgers are held. Where it is
    /// none of these, it is waited for.
    private func flushApart(_ batch: [Waiting]) async {
        let tenants = batch.reduce(into: Set()) { $0.formUnion($1.submission.prepared.tenants) }
        // What keeps it from being found out is told by the flush that is tried again.
        let held = (try? await ledgers.find(among: tenants)) ?? []
        let others = leavingHeld(batch, held)
        if !others.isEmpty { await flush(others, isPatient: others.count == batch.count) }
    }

    private func refuse(_ batch: [Waiting], _ error: any Error) {
        leave(batch)
        let level = error.isOverflow ? Logger.Level.info : .warning
        logger.log(level: level, "ingest flush failed", metadata: ["requests": "\(batch.count)", "error": "\(error)"])
        for waiting in batch { waiting.answer.resume(returning: .failure(error)) }
    }

    /// Stores submissions in one transaction, preparing them again as long as the catalogue moves on.
    private func store(_ submissions: [Submission], isPatient: Bool) async throws -> [EventNotice] {
        var submissions = submissions
        var attempts = 0
        while true {
            do {
                let flush = try merged(submissions)
                let notices = try await preparation.pool.transaction(
                    .ingest,
                    retries: .idempotent(attempts: 3)
                ) { transaction in
                    if !isPatient { transaction.waitForLocks(atMost: HeldLedgers.patience) }
                    return try flush.run(in: transaction)
                }
                metrics.flushed(flush)
                return notices
            } catch let stale as StaleCatalog {
                attempts += 1
                guard attempts < limits.preparationAttempts else { throw IngestRefusal.catalogBusy }
                try await preparation.refresh(stale)
                submissions = try await preparedAnew(submissions, isPatient: isPatient)
            }
        }
    }

    private func preparedAnew(_ submissions: [Submission], isPatient: Bool) async throws -> [Submission] {
        let preparation = isPatient ? preparation.waitingForLedgers : preparation
        var result: [Submission] = []
        for submission in submissions {
            let prepared = try await preparation.prepare(submission.prepared.incoming, boundTo: submission.boundTo)
            guard prepared.faults.isEmpty else { throw IngestRefusal.faults(prepared.faults) }
            result.append(Submission(prepared: prepared, boundTo: submission.boundTo))
        }
        return result
    }
}

extension IngestLimits {
    var queued: QueueLoad { QueueLoad(count: queuedEvents, size: queuedBytes) }
    fileprivate var flushed: QueueLoad { QueueLoad(count: flushEvents, size: flushBytes) }
}

extension IngestRefusal {
    fileprivate var blamesData: Bool {
        switch self {
        case .faults, .catalogBusy: true
        default: false
        }
    }
}

extension Error {
    /// Whether the data of some request is to blame, so that its neighbours can still be stored without it.
    fileprivate var isDataError: Bool {
        isOfData || (self as? IngestRefusal)?.blamesData == true
    }
}
