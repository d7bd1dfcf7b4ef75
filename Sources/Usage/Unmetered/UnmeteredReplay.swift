import BillingCore
import Catalog
import Identity
import Limits
import Postgres
import Web

/// Stored events that no feature counted, ready to be counted by those of now in one transaction. Each is taken back
/// and stored again under a key of its own, so that the log only grows, and what rebuilds counters from it needs no
/// rule for that.
struct UnmeteredReplay: Sendable {
    private let originals: [UnmeteredEvent]
    private let prepared: [IngestPreparation.Prepared]
    private let limits: LimitPolicy
    private let now: Instant

    var eventCount: Int { originals.count }

    /// Measures the events anew. Left out are those that can't be measured, whose subject names another tenant by now,
    /// or which the narrowing does not cover. A cost that was reported is believed where it was when it came.
    init(_ events: [UnmeteredEvent], narrowing: Narrowing, by ingest: IngestService) async throws {
        limits = ingest.preparation.limits
        now = ingest.clock.now()
        let covered = events.filter { narrowing.refusals(of: $0.stored.event).isEmpty }
        var originals: [UnmeteredEvent] = []
        var prepared: [IngestPreparation.Prepared] = []
        for (currency, events) in Dictionary(grouping: covered, by: \.stored.reportedCurrency) {
            var preparation = ingest.preparation.reading(on: .interactive).waitingForLedgers
            if let currency {
                let sources = Set(events.map(\.stored.event.source))
                preparation.costs = CostPolicy(currency: currency, trustedSources: sources)
            }
            var measured = try await preparation.prepare(
                events.enumerated().map { IngestPreparation.Incoming(replaying: $1.stored, index: $0) },
                boundTo: nil,
                believesReports: currency != nil
            )
            measured.unmatched = []
            let counted = measured.keeping { events[$1.index].tenant == $0 && !$1.measurements.isEmpty }
            originals += counted.groups.flatMap { $0.events.map { events[$0.index] } }
            prepared.append(counted)
        }
        self.originals = originals
        self.prepared = prepared
    }

    /// Counts them, but for those that were voided or replayed meanwhile.
    /// - Returns: how many were counted, of each tenant.
    /// - Throws: as `IngestFlush.run`; nothing is counted then.
    func run(in transaction: borrowing Transaction) throws -> [TenantID: Int] {
        guard !originals.isEmpty else { return [:] }
        let sequences = try lockLedgers(in: transaction)
        let events = originals.map { (tenant: $0.tenant, stored: $0.stored) }
        let free = Set(try transaction.query(DedupStore.claimReversals(of: events), DedupStore.decodeClaim))
        // Read again under the ledger lock: their costs may have been found out since.
        let current = try transaction.query(
            EventLogStore.current(
                events.filter {
                    free.contains(TenantEventKey(tenant: $0.tenant, key: EventKey(reversalOf: $0.stored.key)))
                }
            ),
            EventLogStore.decodeCurrent
        )
        guard !current.isEmpty else { return [:] }
        try takeBack(current, upTo: sequences, in: transaction)
        let replayed = Dictionary(
            current.map { (TenantEventKey(tenant: $0.tenant, key: EventKey(replayOf: $0.stored.key)), $0.stored) }
        ) { first, _ in first }
        var flush = try IngestFlush(
            merging: prepared.map { events in
                events.keeping { replayed[TenantEventKey(tenant: $0, key: $1.event.key)] != nil }
            },
            limits: limits,
            at: now
        )
        let tenants = Dictionary(flush.groups.map { ($0.tenant.id, $0.tenant) }) { first, _ in first }
        flush.replayed = try ReplayedUses(replayed, of: Array(tenants.values), flush.surroundings, in: transaction)
        _ = try flush.run(in: transaction)
        try withdrawUnpriced(current, of: tenants, flush.surroundings, in: transaction)
        return Dictionary(grouping: current, by: \.tenant).mapValues(\.count)
    }

    /// Locks the tenants' ledgers, with as many sequences of each as it has events. The flush tells whether they were
    /// measured by what is in force.
    /// - Returns: the ledger sequence before the first of each.
    private func lockLedgers(in transaction: borrowing Transaction) throws -> [TenantID: Int64] {
        let counts = Dictionary(grouping: originals, by: \.tenant).mapValues { Int64($0.count) }
        return try TenantLedger.allocate(counts, in: transaction)
            .mapValues { $0.ledgerSequence - counts[$0.tenantID, default: 0] }
    }

    /// Stores what takes the events back, which have counted in no feature.
    /// - Parameter sequences: of each tenant the last that is taken.
    private func takeBack(
        _ events: [(tenant: TenantID, stored: StoredEvent)],
        upTo sequences: [TenantID: Int64],
        in transaction: borrowing Transaction
    ) throws {
        var sequences = sequences
        var columns = EventColumns()
        for (tenant, stored) in events {
            let sequence = sequences[tenant, default: 0] + 1
            sequences[tenant] = sequence
            columns.append(stored.reversal(sequence: sequence, at: now), tenant: tenant)
        }
        transaction.enqueue(columns.insert)
    }

    /// Takes them out of what is unpriced. After they are counted anew: for a moment none would be unpriced, and the
    /// next would be told of as the first.
    private func withdrawUnpriced(
        _ events: [(tenant: TenantID, stored: StoredEvent)],
        of tenants: [TenantID: TenantSnapshot],
        _ surroundings: LimitSurroundings,
        in transaction: borrowing Transaction
    ) throws {
        var unpriced = UnpricedChanges()
        for (tenant, stored) in events {
            guard let reason = tenants[tenant].flatMap({ stored.unpricedReason(in: $0.currency) }) else { continue }
            try unpriced.remove(stored.event, at: stored.time, of: tenant, reason)
        }
        _ = try unpriced.write(triedWith: surroundings.shared.costs.version, in: transaction)
    }
}

extension StoredEvent {
    /// The currency of a cost that its sender reported and that was believed.
    fileprivate var reportedCurrency: Currency? { cost.flatMap { $0.isReported ? $0.currency : nil } }
}

extension IngestPreparation.Incoming {
    fileprivate init(replaying stored: StoredEvent, index: Int) {
        self.init(
            event: stored.event.with(key: EventKey(replayOf: stored.event.key)),
            time: stored.time,
            receivedAt: stored.receivedAt,
            index: index
        )
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
