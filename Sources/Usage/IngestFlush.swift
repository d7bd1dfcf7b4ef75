package import BillingCore
import Catalog
import Limits
import Postgres
import Web

/// One group commit: the events of many requests, stored, deduplicated and counted in one transaction.
///
/// Order of locks: tenant ledger, deduplication, reservations, counters, limits (each in key order). Everything that is
/// decided is decided from rows read after the ledger lock.
struct IngestFlush: Sendable {
    /// The catalogue that measured every event of the flush, and what else limits depend on.
    let surroundings: LimitSurroundings
    /// In the order of their tenants, so that ledgers are locked in one order everywhere.
    let groups: [TenantGroup]
    let unmatched: [UnmatchedEvent]
    /// What those that are stored a second time have counted in limits before.
    var replayed = ReplayedUses.none

    /// Merges what several requests submitted; a notice names its request by its position.
    /// - Throws: `StaleCatalog` when they were prepared with different versions of the shared catalogue.
    init(
        merging submissions: [IngestPreparation.Prepared],
        limits policy: LimitPolicy,
        at now: Instant
    ) throws(StaleCatalog) {
        var groups: [TenantGroup] = []
        var unmatched: [UnmatchedEvent] = []
        for (position, prepared) in submissions.enumerated() {
            guard prepared.shared.version == submissions[0].shared.version else {
                throw StaleCatalog(tenants: [], shared: true)
            }
            for var group in prepared.groups {
                group.submission = position
                groups.append(group)
            }
            for var event in prepared.unmatched {
                event.submission = position
                unmatched.append(event)
            }
        }
        surroundings = LimitSurroundings(policy, shared: submissions.first?.shared ?? .empty, now: now)
        self.groups = groups.sorted { $0.tenant.id < $1.tenant.id }
        self.unmatched = unmatched
    }

    var eventCount: Int { groups.reduce(unmatched.count) { $0 + $1.events.count } }

    /// Runs in its transaction.
    /// - Returns: the events that were not plainly accepted.
    /// - Throws: `StaleCatalog` when the snapshots it was prepared with are out of date: nothing is stored, and the
    ///   flush is prepared anew. `PostgresError`, and `CounterOverflow` when a counter leaves its range.
    func run(in transaction: borrowing Transaction) throws -> [EventNotice] {
        var notices: [EventNotice] = []
        var alerts = UsageAlerts(at: surroundings.now)
        if !unmatched.isEmpty {
            notices += try UnmatchedEventStore.insert(unmatched, in: transaction)
            for (item, notice) in zip(unmatched, notices) where notice.status == .unmatched {
                alerts.addUnmatched(item.event)
            }
        }
        if !groups.isEmpty {
            notices += try count(in: transaction, &alerts)
        }
        try AlertStore.raise(alerts.drafts, at: surroundings.now, ids: surroundings.ids, in: transaction)
        return notices
    }

    private func count(in transaction: borrowing Transaction, _ alerts: inout UsageAlerts) throws -> [EventNotice] {
        var claims = EventClaims(groups)
        let unpricedKeys = unpricedKeys()
        var statements = [
            TenantLedger.allocation(claims.ledgerCounts),
            CatalogVersion.current,
            claims.claim,
            CounterStore.counters(candidateCounters()),
        ]
        if !unpricedKeys.isEmpty { statements.append(UnpricedUsageStore.anyDay(of: unpricedKeys)) }
        let results = try transaction.pipeline(statements)
        var sequences = try checkVersions(
            ledgers: results[0].map(TenantLedger.entry),
            catalog: results[1].map { row throws(PostgresError) in try row.next(Int64.self) },
            counts: claims.ledgerCounts
        )
        try claims.settle(claimed: results[2], in: transaction)

        var changes = UsageChanges(
            stored: try results[3].map(CounterStore.decode),
            chargedTenants: surroundings.tenantsWithChargeLimits(groups.lazy.map(\.tenant))
        )
        var (columns, late) = (EventColumns(), LateUsage())
        var unpriced = UnpricedChanges(
            known: Set(try results.dropFirst(4).first?.map(UnpricedUsageStore.decodeKey) ?? [])
        )
        var settlements = try Settlements(settling(claims), at: surroundings.now, in: transaction)
        try changes.refer(to: distinct(claims), in: transaction)
        var matching = surroundings.matching
        for (groupIndex, group) in groups.enumerated() {
            var windows = WindowCache(zone: group.tenant.zone)
            var sequence = sequences[group.tenant.id, default: 0]
            for (eventIndex, pending) in group.events.enumerated()
            where claims.isFresh(group: groupIndex, event: eventIndex) {
                sequence += 1
                columns.append(
                    StoredEvent(pending, sequence: sequence, version: surroundings.shared.version),
                    tenant: group.tenant.id
                )
                try unpriced.add(pending.event, at: pending.time, of: group.tenant.id, pending.cost.unpricedReason)
                try changes.add(pending, sequence: sequence, tenant: group.tenant.id)
                let uses = try uses(of: pending, by: group.tenant, &matching, &windows, in: &changes.limits)
                try changes.limit(pending, uses, by: group.tenant, settling: &settlements)
                settlements.note(pending, of: group)
                late.note(pending.place, of: group.tenant.id, at: surroundings.now)
            }
            sequences[group.tenant.id] = sequence
        }
        if columns.count > 0 {
            transaction.enqueue(columns.insert)
            settlements.enqueue(in: transaction)
            alerts.add(try changes.enqueue(surroundings, in: transaction))
            late.enqueue(in: transaction)
            try write(&unpriced, upTo: sequences, &alerts, in: transaction)
        }
        return settlements.notices
            + claims.notices(groups) { pending, remark, tenant in
                alerts.add(pending, remark, of: tenant, surroundings.shared)
            }
    }

    /// What an event adds to limits.
    private func uses(
        of pending: PendingEvent,
        by tenant: TenantSnapshot,
        _ matching: inout LimitMatching,
        _ windows: inout WindowCache,
        in tally: inout LimitTally
    ) throws -> [LimitUse] {
        let uses = matching.uses(of: LimitedUse(pending), by: tenant, windows: &windows)
        return try replayed.rest(of: uses, by: pending, of: tenant, &matching, &windows, in: &tally)
    }

    /// - Parameter sequences: the last of each tenant.
    private func write(
        _ unpriced: inout UnpricedChanges,
        upTo sequences: [TenantID: Int64],
        _ alerts: inout UsageAlerts,
        in transaction: borrowing Transaction
    ) throws {
        for newly in try unpriced.write(triedWith: surroundings.shared.costs.version, in: transaction) {
            guard let tenant = groups.first(where: { $0.tenant.id == newly.key.tenant })?.tenant else { continue }
            alerts.add(newly, from: sequences[tenant.id, default: 0], of: tenant)
        }
    }

    /// The reservations that the fresh events settle, and whether more will follow.
    private func settling(_ claims: EventClaims) -> [(reservation: TenantReservation, isPartial: Bool)] {
        var settling: [(reservation: TenantReservation, isPartial: Bool)] = []
        for (groupIndex, group) in groups.enumerated() {
            for (eventIndex, pending) in group.events.enumerated() {
                guard let reservation = pending.event.reservation(of: group.tenant.id),
                    claims.isFresh(group: groupIndex, event: eventIndex)
                else { continue }
                settling.append((reservation, pending.event.reservationPartial))
            }
        }
        return settling
    }

    /// The fresh events that bring distinct values.
    private func distinct(_ claims: EventClaims) -> [(event: PendingEvent, tenant: TenantID)] {
        var found: [(event: PendingEvent, tenant: TenantID)] = []
        for (groupIndex, group) in groups.enumerated() {
            for (eventIndex, pending) in group.events.enumerated()
            where pending.measurements.contains(where: \.isDistinct)
                && claims.isFresh(group: groupIndex, event: eventIndex)
            {
                found.append((pending, group.tenant.id))
            }
        }
        return found
    }

    /// The counters that the flush may change or needs beside them, known before it is known which events are fresh.
    private func candidateCounters() -> [CounterKey] {
        var keys: Set<CounterKey> = []
        for group in groups {
            var last: (period: BillingPeriodID, measurements: [Measurement])?
            for pending in group.events {
                guard let place = pending.place, let period = place.billingPeriodID else { continue }
                if let last, last.period == period, last.measurements.changeTheSame(as: pending.measurements) {
                    continue
                }
                last = (period, pending.measurements)
                for measurement in pending.measurements {
                    measurement.forEachCounter(of: group.tenant.id, in: period) { key, _, _ in
                        keys.insert(key)
                        if !place.parts.isEmpty { keys.formUnion(place.keys(beside: key)) }
                    }
                }
            }
        }
        return keys.sorted()
    }

    /// What the flush may add to what is unpriced, of no day in particular.
    private func unpricedKeys() -> [UnpricedKey] {
        var keys: Set<UnpricedKey> = []
        var last: UnpricedKey?
        for group in groups {
            for pending in group.events {
                guard let reason = pending.cost.unpricedReason,
                    last?.covers(pending.event, at: pending.time, of: group.tenant.id, reason) != true
                else { continue }
                let key = UnpricedKey(tenant: group.tenant.id, reason: reason, event: pending.event, time: pending.time)
                keys.insert(key.ofAnyDay)
                last = key
            }
        }
        return keys.sorted()
    }

    /// Compares the versions under which the events were prepared with those in force now that the ledgers are locked.
    /// - Returns: per tenant the ledger sequence before the first of this flush.
    private func checkVersions(
        ledgers: [TenantLedger.Entry],
        catalog: [Int64],
        counts: [TenantID: Int64]
    ) throws(StaleCatalog) -> [TenantID: Int64] {
        let inForce = Dictionary(ledgers.map { ($0.tenantID, $0) }) { first, _ in first }
        let stale = groups.filter { inForce[$0.tenant.id]?.catalogVersion != $0.tenant.catalogVersion }
        let version = surroundings.shared.version
        guard stale.isEmpty, catalog.first == version else {
            throw StaleCatalog(tenants: Set(stale.map(\.tenant.id)), shared: catalog.first != version)
        }
        return inForce.mapValues { $0.ledgerSequence - counts[$0.tenantID, default: 0] }
    }
}

/// The snapshots that a transaction was prepared with are out of date: what it was to do is prepared anew.
package struct StaleCatalog: Error {
    package let tenants: Set<TenantID>
    package let shared: Bool

    package init(tenants: Set<TenantID>, shared: Bool) {
        self.tenants = tenants
        self.shared = shared
    }
}

extension [Measurement] {
    /// Whether the same counters of a period are changed, told where that costs little: without cells.
    fileprivate func changeTheSame(as other: [Measurement]) -> Bool {
        count == other.count
            && zip(self, other).allSatisfy { $0.feature == $1.feature && $0.cells.isEmpty && $1.cells.isEmpty }
    }
}

extension StoredEvent {
    fileprivate init(_ pending: PendingEvent, sequence: Int64, version: Int64) {
        self.init(
            event: pending.event,
            key: pending.event.key,
            reversalOf: nil,
            time: pending.time,
            receivedAt: pending.receivedAt,
            ledgerSequence: sequence,
            catalogVersion: version,
            cost: StoredCost(pending.cost)
        )
    }
}
