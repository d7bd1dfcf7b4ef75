import BillingCore
import Catalog
import Identity
import Limits
import Postgres
import Web

/// Stored events that no feature counted, ready to be counted by those of now in one transaction. Each is taken back and
/// stored again under a key of its own, so that the log only grows, and what rebuilds counters from it needs no rule for
/// that.
struct UnmeteredReplay: Sendable {
    private let originals: [TenantID: [StoredEvent]]
    private let prepared: [IngestPreparation.Prepared]
    private let limits: LimitPolicy
    private let now: Instant

    var eventCount: Int { originals.values.reduce(0) { $0 + $1.count } }

    /// Measures the events anew. Left out are those that can't be measured, whose subject names another tenant by now,
    /// or which the narrowing does not cover.
    init(_ events: [UnmeteredEvent], narrowing: Narrowing, by ingest: IngestService) async throws {
        limits = ingest.preparation.limits
        now = ingest.clock.now()
        var originals: [TenantID: [StoredEvent]] = [:]
        var prepared: [IngestPreparation.Prepared] = []
        for believesReports in [true, false] {
            let incoming = events.enumerated().compactMap { index, event -> IngestPreparation.Incoming? in
                let stored = event.stored
                guard (stored.cost?.isReported ?? false) == believesReports,
                    narrowing.refusals(of: stored.event).isEmpty
                else { return nil }
                return .init(
                    event: stored.event.replayed,
                    time: stored.time,
                    receivedAt: stored.receivedAt,
                    index: index
                )
            }
            let preparation = ingest.preparation.reading(on: .interactive).waitingForLedgers
            var measured = try await preparation.prepare(incoming, boundTo: nil, believesReports: believesReports)
            measured.unmatched = []
            let counted = measured.keeping { events[$1.index].tenant == $0 && !$1.measurements.isEmpty }
            for group in counted.groups {
                originals[group.tenant.id, default: []] += group.events.map { events[$0.index].stored }
            }
            prepared.append(counted)
        }
        self.originals = originals
        self.prepared = prepared
    }

    /// Counts them, but for those that were voided or replayed meanwhile.
    /// - Returns: how many were counted, of each tenant.
    /// - Throws: as `IngestFlush.run`; nothing is counted then.
    func run(in transaction: borrowing Transaction) throws -> [TenantID: Int] {
        let snapshots = try lock(in: transaction)
        let surroundings = LimitSurroundings(limits, shared: prepared.first?.shared ?? .empty, now: now)
        var unpriced = UnpricedChanges()
        var taken: [TenantID: Set<EventKey>] = [:]
        for (tenant, sequence) in snapshots {
            let voided = try void(originals[tenant.id] ?? [], of: tenant, upTo: sequence, surroundings, in: transaction)
            for event in voided {
                let reason = event.unpricedReason(in: tenant.currency)
                try unpriced.remove(event.event, at: event.time, of: tenant.id, reason)
            }
            taken[tenant.id] = Set(voided.map { EventKey(replayOf: $0.key) })
        }
        let fresh = prepared.map { $0.keeping { taken[$0]?.contains($1.event.key) ?? false } }
        _ = try IngestFlush(merging: fresh, limits: limits, at: now).run(in: transaction)
        // After they are counted anew: for a moment none would be unpriced, and the next would be told of as the first.
        _ = try unpriced.write(triedWith: surroundings.shared.costs.version, in: transaction)
        return taken.mapValues(\.count).filter { $0.value > 0 }
    }

    /// Locks the tenants' ledgers, with as many sequences of each as it has events.
    /// - Returns: the tenants in their order, each with the last of its sequences.
    private func lock(
        in transaction: borrowing Transaction
    ) throws -> [(tenant: TenantSnapshot, sequence: Int64)] {
        let groups = prepared.flatMap(\.groups)
        let ledgers = try TenantLedger.allocate(originals.mapValues { Int64($0.count) }, in: transaction)
        let version = try CatalogVersion.read(in: transaction)
        let stale = groups.filter { ledgers[$0.tenant.id]?.catalogVersion != $0.tenant.catalogVersion }
        let isShared = prepared.contains { $0.shared.version != version }
        guard stale.isEmpty, !isShared else {
            throw StaleCatalog(tenants: Set(stale.map(\.tenant.id)), shared: isShared)
        }
        let snapshots = Dictionary(groups.map { ($0.tenant.id, $0.tenant) }) { first, _ in first }
        return snapshots.values.sorted { $0.id < $1.id }.map { ($0, ledgers[$0.id]?.ledgerSequence ?? 0) }
    }

    /// Stores what takes a tenant's events back, which have counted in no feature but maybe in limits.
    /// - Parameter sequence: the last of as many ledger sequences as there are events.
    /// - Returns: the events as they stood, without those that had been taken back.
    private func void(
        _ events: [StoredEvent],
        of tenant: TenantSnapshot,
        upTo sequence: Int64,
        _ surroundings: LimitSurroundings,
        in transaction: borrowing Transaction
    ) throws -> [StoredEvent] {
        let claimed = Set(
            try transaction.query(DedupStore.claimReversals(of: events, by: tenant.id), DedupStore.decodeClaim)
        )
        let free = events.filter { claimed.contains(EventKey(reversalOf: $0.key)) }
        // Read again under the ledger lock: their costs may have been found out since.
        let current = try transaction.query(
            EventLogStore.events(tenant: tenant.id, keys: free.map(\.key), times: free.map(\.time)),
            EventLogStore.decode
        )
        guard !current.isEmpty else { return [] }
        var columns = EventColumns()
        for (offset, event) in current.enumerated() {
            columns.append(
                event.reversal(sequence: sequence - Int64(current.count - 1 - offset), at: now),
                tenant: tenant.id
            )
        }
        transaction.enqueue(columns.insert)
        var locator = PeriodLocator(tenant: tenant)
        let withdrawal = LimitWithdrawal(tenant: tenant, surroundings: surroundings)
        try withdrawal.run(
            current.map { .init(original: $0, measurements: [], place: locator.place(of: $0.time), charges: [:]) },
            in: transaction
        )
        return current
    }
}

extension IngestPreparation.Prepared {
    fileprivate func keeping(_ isKept: (TenantID, PendingEvent) -> Bool) -> Self {
        var kept = self
        for index in groups.indices {
            let tenant = groups[index].tenant.id
            kept.groups[index].events.removeAll { !isKept(tenant, $0) }
        }
        kept.groups.removeAll(where: \.events.isEmpty)
        return kept
    }
}
