package import BillingCore
package import Catalog
package import Logging
package import Postgres
import ServiceLifecycle
package import Web

/// Bounds of ingest, from the configuration.
package struct IngestLimits: Sendable {
    /// How many events may wait in one lane before requests are refused; of one tenant a quarter, or half.
    package var queuedEvents = 50_000
    /// How much of event text may wait in one lane, whatever the number of events; of one tenant the same part.
    package var queuedBytes = 64 * 1024 * 1024
    /// How much of event text one flush takes at most.
    package var flushBytes = 16 * 1024 * 1024
    /// How many events one flush takes at most; a single larger request is one flush of its own.
    package var flushEvents = 2_000
    package var lanes = 2
    package var batchEvents = 10_000
    package var maximumAgeDays = 35
    package var maximumFutureSeconds = 300
    /// How often a flush is prepared again when the catalogue changed under it.
    package var preparationAttempts = 8
    /// How long events wait for a ledger of their tenants that somebody holds: as long as a statement does.
    package var ledgerWait = Duration.seconds(10)

    package init() {}
}

/// Why events were not taken although they were well formed.
package enum IngestRefusal: Error {
    case queueFull
    case stopping
    case catalogBusy
    /// Somebody has held a tenant's ledger for as long as events wait for it.
    case ledgerHeld
    /// A counter would overflow by the events, of which nothing is stored. Leniently with the faults that were found.
    case overflow([EventFault])
    /// A counter would overflow by some of the events, and others are stored.
    case partOverflows([EventFault])
    case faults([EventFault])
    /// By a change of the catalogue meanwhile some of the events have faults, and others are stored.
    case partFaults([EventFault])
}

/// Takes decoded events to their tenants' lanes and reports what became of each.
package final class IngestService: Service {
    /// A request of at most so many is gathered with others.
    private static let fewEvents = 10
    /// By how many parts of a lenient request, or of a replay, a counter may overflow before no more are halved: enough
    /// to find five events among ten thousand. Each costs a transaction that is rolled back.
    static let halvings = 75

    let limits: IngestLimits
    let lanes: [IngestLane]
    let preparation: IngestPreparation
    let clock: Clock
    private let ledgers: HeldLedgers
    private let metrics: IngestMetrics

    package init(
        catalog: Catalog,
        pool: PostgresPool,
        partitions: PartitionRegistry,
        clock: Clock,
        ids: IDSource,
        limits: IngestLimits,
        costs: CostPolicy = CostPolicy(),
        operatorZone: Zone = .utc,
        logger: Logger
    ) {
        let metrics = IngestMetrics()
        let ledgers = HeldLedgers(pool: pool, room: limits.queued, metrics: metrics)
        let preparation = IngestPreparation(
            catalog: catalog,
            pool: pool,
            partitions: partitions,
            costs: costs,
            limits: LimitPolicy(operatorZone: operatorZone, ids: ids),
            priceSets: PriceSets(),
            clock: clock,
            ledgers: ledgers
        )
        self.preparation = preparation
        self.ledgers = ledgers
        self.metrics = metrics
        self.clock = clock
        self.limits = limits
        lanes = (0..<limits.lanes).map { _ in
            IngestLane(preparation: preparation, ledgers: ledgers, limits: limits, metrics: metrics, logger: logger)
        }
    }

    /// Has what is known to be stored beside events asked for again: the database may not be the one that it was.
    package func forgetStored() {
        preparation.priceSets.forgetAll()
        preparation.partitions.forgetAll()
    }

    /// Runs the lanes until shutdown, then stores what still waits.
    package func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            for lane in lanes {
                group.addTask { await lane.run() }
            }
            await withGracefulShutdownHandler {
                await group.waitForAll()
            } onGracefulShutdown: { [lanes] in
                lanes.forEach { $0.close() }
            }
        }
    }

    /// Stores a batch. When this returns, everything that the report counts as stored is committed.
    /// - Parameter isLenient: whether valid events are stored although others have faults. An event by which a counter
    ///   overflows is found by halving what holds it.
    package func ingest(_ batch: DecodedBatch, by principal: Principal, isLenient: Bool) async throws -> IngestReport {
        if let fault = batch.bodyFault { throw refused([fault]) }
        let accepted = accepted(batch, by: principal)
        var faults = accepted.faults
        guard faults.isEmpty || isLenient else { throw refused(faults) }

        var (storedCount, notices): (Int, [EventNotice]) = (0, [])
        var waiting = [accepted.incoming]
        let end = ContinuousClock.now + limits.ledgerWait
        var (overflows, changes) = (0, 0)
        while let next = waiting.popLast() {
            let prepared = try await prepare(next, boundTo: principal.tenantID, until: end)
            let found = prepared.faults.map(batch.located)
            guard isLenient || faults.isEmpty && found.isEmpty else { throw refused(faults + found) }
            let stored =
                try await prepared.eventCount > 0
                ? store(prepared, boundTo: principal.tenantID, until: end) : Stored()
            faults += found
            notices += stored.notices
            storedCount += prepared.eventCount - stored.overflowing.count - stored.faulty.count
            if !stored.faulty.isEmpty {
                // The catalogue changed after the events were prepared, and measures them otherwise now.
                changes += 1
                guard isLenient, changes <= limits.preparationAttempts else {
                    faults += stored.faults.map(batch.located)
                    guard storedCount > 0 else { throw refused(faults) }
                    metrics.count(IngestReport(stored: storedCount, notices: notices, faults: faults))
                    throw IngestRefusal.partFaults(faults)
                }
                waiting.append(stored.faulty)
            }
            guard let event = stored.overflowing.first else { continue }
            overflows += 1
            if isLenient, stored.overflowing.count == 1 { faults.append(batch.located(.counterOverflow(event))) }
            guard isLenient, overflows < Self.halvings else {
                metrics.count(IngestReport(stored: storedCount, notices: notices, faults: faults))
                throw storedCount > 0 ? IngestRefusal.partOverflows(faults) : .overflow(faults)
            }
            if stored.overflowing.count > 1 { waiting += stored.overflowing.halves.reversed() }
        }
        let report = IngestReport(stored: storedCount, notices: notices, faults: faults)
        metrics.count(report)
        return report
    }

    /// Prepares events. What needs a billing period that has no row yet waits for its tenant's ledger.
    private func prepare(
        _ incoming: [IngestPreparation.Incoming],
        boundTo: TenantID?,
        until end: ContinuousClock.Instant
    ) async throws -> IngestPreparation.Prepared {
        while true {
            do {
                return try await preparation.prepare(incoming, boundTo: boundTo)
            } catch  where error.isLockTimeout {
                let subjects = Set(incoming.map(\.event.subject))
                let tenants = Set(subjects.compactMap { preparation.catalog.cachedTenant(subject: $0)?.id })
                let known = ledgers.known(among: tenants)
                let held = try await known.isEmpty ? ledgers.find(among: tenants) : known
                guard !held.isEmpty else {
                    return try await preparation.waitingForLedgers.prepare(incoming, boundTo: boundTo)
                }
                let load = QueueLoad(count: incoming.count, size: incoming.reduce(0) { $0 + $1.event.byteCount })
                try await ledgers.wait(for: held, taking: load, until: end)
            }
        }
    }

    /// Those of a batch's events that the credential may report and whose time is accepted, and what is wrong with the
    /// others.
    private func accepted(
        _ batch: DecodedBatch,
        by principal: Principal
    ) -> (incoming: [IngestPreparation.Incoming], faults: [EventFault]) {
        let now = clock.now()
        var faults = batch.faults
        var incoming: [IngestPreparation.Incoming] = []
        incoming.reserveCapacity(batch.events.count)
        let window = AcceptedTimes(now: now, limits: limits, mayBackfill: principal.scopes.contains(.eventsBackfill))
        let narrowing = principal.narrowing == .none ? nil : principal.narrowing
        for (event, index) in zip(batch.events, batch.indexes) {
            func add(_ pointer: String, _ code: String, _ detail: String) {
                let pointer = batch.pointer(pointer, inEvent: index)
                faults.append(EventFault(index: index, id: event.id, pointer: pointer, code: code, detail: detail))
            }
            if let beyond = narrowing?.refusals(of: event), !beyond.isEmpty {
                for refusal in beyond { add(refusal.pointer, refusal.code, refusal.detail) }
            } else if let fault = window.fault(of: event.time) {
                add("/time", fault.code, fault.detail)
            } else {
                incoming.append(.init(event: event, time: event.time ?? now, receivedAt: now, index: index))
            }
        }
        return (incoming, faults)
    }

    private func refused(_ faults: [EventFault]) -> IngestRefusal {
        metrics.countRejected(faults)
        return .faults(faults)
    }

    /// For operations other than ingest itself.
    func refresh(_ stale: StaleCatalog) async throws {
        try await preparation.reading(on: .interactive).refresh(stale)
    }

    /// Each tenant has its lane, so a larger request of several tenants takes several transactions; one that a counter
    /// may refuse takes one, because nothing of it must be stored then. A price of millions for a unit can make the
    /// charge of ordinary usage overflow; that is only found by the lane, when others have stored theirs.
    ///
    /// Requests of few events are gathered in the first lane whatever their tenants, until it is crowded: a flush costs
    /// nearly the same for one event as for ten, and two at once slow each other down. Those that a counter may refuse
    /// stay apart, because such a flush is stored again in parts.
    private func store(
        _ prepared: IngestPreparation.Prepared,
        boundTo: TenantID?,
        until end: ContinuousClock.Instant
    ) async throws -> Stored {
        if prepared.eventCount <= Self.fewEvents, !prepared.mayOverflow, !lanes[0].isCrowded {
            return try await store(prepared, in: 0, boundTo: boundTo, until: end)
        }
        var shares: [Int: IngestPreparation.Prepared] = [:]
        func share(_ lane: Int, _ add: (inout IngestPreparation.Prepared) -> Void) {
            var empty = prepared
            empty.groups = []
            empty.unmatched = []
            add(&shares[lane, default: empty])
        }
        for group in prepared.groups {
            share(Int(truncatingIfNeeded: group.tenant.id.rawValue) % lanes.count) { $0.groups.append(group) }
        }
        for event in prepared.unmatched {
            share(Int(truncatingIfNeeded: event.event.key.low & 0xFFFF) % lanes.count) { $0.unmatched.append(event) }
        }
        if let lane = shares.keys.min(), shares.count == 1 || prepared.mayOverflow {
            return try await store(prepared, in: lane, boundTo: boundTo, until: end)
        }
        return try await withThrowingTaskGroup(of: Stored.self) { group in
            for (lane, share) in shares {
                group.addTask { try await self.store(share, in: lane, boundTo: boundTo, until: end) }
            }
            return try await group.reduce(into: Stored()) { $0.add($1) }
        }
    }

    /// Stores events of tenants whose ledger somebody holds once it is free, and others before that, unless a counter
    /// may refuse them, because nothing is stored then.
    private func store(
        _ share: IngestPreparation.Prepared,
        in lane: Int,
        boundTo: TenantID?,
        until end: ContinuousClock.Instant
    ) async throws -> Stored {
        var (stored, rest) = (Stored(), share)
        while true {
            var held = ledgers.known(among: rest.groups.lazy.map(\.tenant.id))
            do {
                if held.isEmpty {
                    stored.add(try await storeNow(rest, in: lane, boundTo: boundTo))
                    return stored
                }
            } catch let found as LedgersHeld {
                guard ContinuousClock.now < end else { throw IngestRefusal.ledgerHeld }
                held = found.tenants
            }
            let (waiting, others) = rest.divided(by: held)
            if !rest.mayOverflow, others.eventCount > 0 {
                do {
                    stored.add(try await storeNow(others, in: lane, boundTo: boundTo))
                    rest = waiting
                } catch is LedgersHeld {
                    // Of others, too: all of them are known now.
                }
            }
            let load = QueueLoad(count: rest.eventCount, size: rest.byteCount)
            try await ledgers.wait(for: rest.tenants, taking: load, until: end)
        }
    }

    private func storeNow(
        _ share: IngestPreparation.Prepared,
        in lane: Int,
        boundTo: TenantID?
    ) async throws -> Stored {
        do {
            return Stored(notices: try await lanes[lane].store(.init(prepared: share, boundTo: boundTo)))
        } catch  where error.isOverflow {
            return Stored(overflowing: share.incoming)
        } catch IngestRefusal.faults(let faults) {
            return Stored(faulty: share.incoming, faults: faults)
        }
    }

    /// What became of events that were given to lanes.
    private struct Stored: Sendable {
        var notices: [EventNotice] = []
        /// Those of lanes where a counter would overflow by some of them: none of these is stored.
        var overflowing: [IngestPreparation.Incoming] = []
        /// Those of lanes where some of them can't be measured any more, and why: none of these is stored.
        var faulty: [IngestPreparation.Incoming] = []
        var faults: [EventFault] = []

        mutating func add(_ other: Stored) {
            notices += other.notices
            overflowing += other.overflowing
            faulty += other.faulty
            faults += other.faults
        }
    }
}

extension Array {
    var halves: [[Element]] { [Array(prefix(count / 2)), Array(dropFirst(count / 2))] }
}

extension EventFault {
    fileprivate static func counterOverflow(_ incoming: IngestPreparation.Incoming) -> EventFault {
        EventFault(
            index: incoming.index,
            id: incoming.event.id,
            pointer: "",
            code: "counter_overflow",
            detail: "With this event a counter, or what is charged for it, would reach 10^26, more than can be counted."
        )
    }
}

extension DecodedBatch {
    /// A fault of one of the events, with its pointer into the body.
    fileprivate func located(_ fault: EventFault) -> EventFault {
        var located = fault
        located.pointer = pointer(fault.pointer, inEvent: fault.index ?? 0)
        return located
    }
}

/// The times that events may have, by the rules: not too old and not in the future, as seen at receipt.
struct AcceptedTimes {
    /// The earliest time that may be backfilled: the raw log has one partition per month.
    private static let earliest = Instant(microseconds: 946_684_800_000_000)
    private let oldest: Instant
    private let newest: Instant
    private let limits: IngestLimits
    private let mayBackfill: Bool

    init(now: Instant, limits: IngestLimits, mayBackfill: Bool) {
        self.limits = limits
        self.mayBackfill = mayBackfill
        oldest = mayBackfill ? Self.earliest : now.adding(seconds: -86_400 * Int64(limits.maximumAgeDays))
        newest = now.adding(seconds: Int64(limits.maximumFutureSeconds))
    }

    func fault(of time: Instant?) -> (code: String, detail: String)? {
        guard let time else { return nil }
        if time < oldest {
            let bound =
                mayBackfill
                ? "Events before 2000 are not kept."
                : "Events may be \(limits.maximumAgeDays) days old; older ones need the scope events:backfill."
            return ("timestamp_too_old", bound)
        }
        if time > newest {
            return (
                "timestamp_in_future",
                "Events may be at most \(limits.maximumFutureSeconds) seconds ahead of the service's clock."
            )
        }
        return nil
    }
}
