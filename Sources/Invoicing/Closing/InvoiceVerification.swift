package import BillingCore
import Catalog
import Crypto
package import Postgres
package import Usage
package import Web

/// Rebuilds every finalised invoice from the raw events up to its ledger sequence, the plan versions it was priced by,
/// and what was pinned of everything else, and compares it byte for byte. Compares what is written of its use of
/// credits with what it says, what is left of every credit with all uses, credit notes with their lines and invoices,
/// and the series of numbers with what is numbered.
package struct InvoiceVerification: Sendable {
    private static let page = 200

    private let pool: PostgresPool
    private let clock: Clock

    package init(pool: PostgresPool, clock: Clock) {
        self.pool = pool
        self.clock = clock
    }

    /// - Parameters:
    ///   - only: the one tenant to judge; every one when left out.
    ///   - difference: called for each one found.
    ///   - progress: called after each invoice.
    /// - Returns: how many invoices were judged.
    @discardableResult
    package func run(
        tenant only: TenantID? = nil,
        difference: (UsageDifference) -> Void,
        progress: () -> Void = {}
    ) async throws -> Int {
        var judged = 0
        var after: (sequence: Int64, id: InvoiceID) = (0, InvoiceID(rawValue: .zero))
        var catalog = CatalogSnapshot.empty
        while true {
            let last = after
            let invoices = try await pool.query(
                .worker,
                """
                SELECT sequence, invoice_id
                FROM invoice_document
                WHERE (sequence, invoice_id) > (\(last.sequence), \(last.id))
                    AND (\(only)::bigint IS NULL OR tenant_id = \(only)::bigint)
                ORDER BY sequence, invoice_id
                LIMIT \(Self.page)
                """
            ) { row throws(PostgresError) in (try row.next(Int64.self), try row.next(InvoiceID.self)) }
            for (_, invoice) in invoices {
                do {
                    let (found, read) = try await verify(invoice, reusing: catalog)
                    catalog = read
                    if let found { difference(found) }
                } catch  where error.isOfStored {
                    difference(.unreadable("invoice \(invoice)", error))
                }
                judged += 1
                progress()
            }
            guard let next = invoices.last else { break }
            after = next
        }
        if only == nil {
            try await passing("series", difference) {
                try await SeriesVerification(pool: pool).run(difference: difference)
            }
        }
        try await passing("credits", difference) {
            try await CreditVerification(pool: pool).run(tenant: only, difference: difference)
        }
        try await passing("credit notes", difference) {
            try await CreditNoteVerification(pool: pool).run(tenant: only, difference: difference)
        }
        return judged
    }

    /// What can't be read of one kind keeps none of the others from being judged.
    private func passing(
        _ what: String,
        _ difference: (UsageDifference) -> Void,
        _ judge: () async throws -> Void
    ) async throws {
        do {
            try await judge()
        } catch  where error.isOfStored {
            difference(.unreadable(what, error))
        }
    }

    /// - Parameter known: the catalogue as read for another invoice.
    /// - Returns: the catalogue too, for the next one.
    private func verify(
        _ id: InvoiceID,
        reusing known: CatalogSnapshot
    ) async throws -> (UsageDifference?, CatalogSnapshot) {
        let now = clock.now()
        return try await pool.transaction(.worker) { transaction in
            try transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            let catalog = try CatalogSnapshotStore.read(reusing: known, in: transaction)
            guard let stored = try InvoiceReading.whole(id, catalog: catalog, now: now, in: transaction) else {
                return (UsageDifference.withoutRow(id), catalog)
            }
            return (try difference(of: stored, catalog, now: now, in: transaction), catalog)
        }
    }

    private func difference(
        of stored: WholeInvoice,
        _ catalog: CatalogSnapshot,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> UsageDifference? {
        let subject = "invoice \(stored.document.number ?? stored.invoice.id.description)"
        func found(_ what: String, _ left: String, _ right: String, source: String = "events") -> UsageDifference {
            UsageDifference(
                tenant: stored.document.tenantKey,
                subject: "\(subject)\(what)",
                stored: left,
                rebuilt: right,
                source: source
            )
        }
        let bytes = stored.canonicalBytes
        var rehashed = stored.document
        rehashed.contentHash = Array(SHA256.hash(data: bytes))
        guard rehashed.contentHash == stored.document.contentHash else {
            let (pinned, given) = (stored.document.contentHashText, rehashed.contentHashText)
            return found(": its hash", pinned, given, source: "document and lines")
        }
        do {
            let rebuilt = try InvoiceRebuild(stored: stored, catalog: catalog, now: now).run(in: transaction)
            guard rebuilt.canonicalBytes == bytes else {
                let (what, left, right) = stored.firstDifference(from: rebuilt)
                return found(what, left, right)
            }
            let (written, said) = try stored.creditUses(in: transaction)
            return written == said ? nil : found(": its use of credits", written, said)
        } catch let error as DecimalError {
            return found("", "finalised", "no invoice: \(error)")
        }
    }
}

/// One invoice, made again.
struct InvoiceRebuild {
    let stored: WholeInvoice
    let catalog: CatalogSnapshot
    let now: Instant

    func run(in transaction: borrowing Transaction) throws -> WholeInvoice {
        let invoice = stored.invoice
        let document = stored.document
        var records = try InvoiceRecords(
            for: [invoice],
            adjusted: document.facts.adjustedPeriods,
            before: document.sequence.map { sequence in
                InvoicedAmountStore.Past(
                    sequence: sequence,
                    creditNotesThrough: document.facts.creditNotesThrough ?? 0
                )
            },
            now: now,
            in: transaction
        )
        records.ledgers[invoice.tenantID] = document.ledgerSequence
        try pin(&records)
        try pinSubscription(&records, in: transaction)
        let mayMissUncosted = records.counters.values.contains { $0.contains { !$0.state.uncosted.isExact } }
        records.counters = try counters(records, in: transaction)
        var preparation = InvoicePreparation(draft: invoice, records: records, catalog: catalog)
        preparation.pinnedLines = stored.lines
        preparation.seller = document.facts.seller
        preparation.pinnedPlanName = document.facts.planName
        preparation.listsAllUnpriced = true
        guard let prepared = try preparation.prepared() else { return stored }
        var whole = prepared.whole
        whole.document.sequence = document.sequence
        whole.document.number = document.number
        whole.document.finalizedAt = document.finalizedAt
        whole.document.dueAt = document.dueAt
        // Invoices of before such lists were shortened have all of it.
        if document.facts.unpriced.contains(where: { $0.sumOf != nil }) {
            whole.document.facts.unpriced = try whole.document.facts.unpriced.shortened()
        }
        if mayMissUncosted { whole.document.facts.unpriced.missUncosted(of: document.facts.unpriced) }
        return whole
    }

    /// What does not come from usage and prices is taken as the invoice pinned it: how the tenant was billed, which
    /// discounts and credits it had.
    private func pin(_ records: inout InvoiceRecords) throws(DecimalError) {
        let invoice = stored.invoice
        let facts = stored.document.facts
        records.tenants[invoice.tenantID] = BilledTenant(
            id: invoice.tenantID,
            key: stored.document.tenantKey,
            name: stored.document.tenantName,
            currency: stored.document.currency,
            billingEmail: facts.billingEmail,
            billing: facts.billing
        )
        records.discounts[invoice.tenantID] = facts.discounts.map { $0.record(of: invoice.tenantID) }
        records.credits[invoice.tenantID] = try pinnedCredits
        records.unusableCredits = [:]
    }

    /// The subscription as the invoice knew it: how long it was to run, and its segments, with those that were to come.
    private func pinSubscription(
        _ records: inout InvoiceRecords,
        in transaction: borrowing Transaction
    ) throws {
        let invoice = stored.invoice
        let facts = stored.document.facts
        guard let subscription = records.subscriptions[invoice.subscriptionID], let known = facts.segmentCount else {
            return
        }
        let scheduled = try SubscriptionSegment.all(
            facts.scheduledSegments,
            of: subscription.id,
            tenant: invoice.tenantID,
            in: transaction
        )
        records.subscriptions[invoice.subscriptionID] = SubscriptionSnapshot(
            id: subscription.id,
            segments: Array(subscription.segments.prefix(max(1, known - scheduled.count))) + scheduled,
            periods: subscription.periods,
            startsAt: subscription.startsAt,
            endsAt: facts.endsAt,
            near: invoice.period.start
        )
    }

    /// The credits of the invoice in their order, with no more than what was used when what comes back is added: the
    /// arithmetic must use all of it again.
    private var pinnedCredits: [CreditGrant] {
        get throws(DecimalError) {
            let facts = stored.document.facts
            var returned = Dictionary(facts.returnedCredits.map { ($0.id, $0.amount) }) { first, _ in first }
            var grants: [CreditGrant] = []
            for credit in facts.credits {
                let remaining = try credit.amount.subtracting(returned.removeValue(forKey: credit.id) ?? .zero)
                grants.append(grant(credit, remaining: remaining, priority: grants.count))
            }
            for credit in facts.returnedCredits where returned[credit.id] != nil {
                grants.append(grant(credit, remaining: credit.amount.negated, priority: grants.count))
            }
            return grants
        }
    }

    private func grant(_ credit: InvoiceFacts.Credit, remaining: FixedDecimal, priority: Int) -> CreditGrant {
        CreditGrant(
            id: credit.id,
            tenantID: stored.invoice.tenantID,
            kind: credit.kind,
            name: credit.name,
            currency: stored.document.currency,
            amount: credit.amount,
            remaining: remaining,
            priority: priority,
            expiresAt: nil,
            origin: .api,
            originID: nil,
            createdAt: .minimum,
            voidedAt: nil,
            updatedAt: .minimum,
            revision: 1
        )
    }

    /// The counters of the periods that the invoice is about, from the raw events up to its ledger sequence.
    private func counters(
        _ records: InvoiceRecords,
        in transaction: borrowing Transaction
    ) throws -> [BillingPeriodID: [CounterRow]] {
        let tenant = stored.invoice.tenantID
        guard let snapshot = try TenantSnapshotStore.read([tenant], plans: [:], now: now, in: transaction).first else {
            return [:]
        }
        let sequence = stored.document.ledgerSequence
        var recount = UsageRecount(
            tenant: snapshot,
            periods: try BillingPeriodStore.all(of: tenant, in: transaction),
            catalog: catalog,
            costsThroughSequence: sequence
        )
        let own = (records.periods[stored.invoice.subscriptionID] ?? []).map(\.period)
        for interval in Set(own.map(\.interval)).sorted(by: { $0.start < $1.start }) {
            try recount.add(eventsOf: interval, throughSequence: sequence, in: transaction)
        }
        return Dictionary(grouping: try recount.countedRows(), by: \.key.period)
    }
}

extension [InvoiceFacts.Unpriced] {
    /// Leaves out what of the usage without a known cost an invoice did not know, because its counters were made before
    /// all of that was noted. An invoice that says more than there is stays another.
    fileprivate mutating func missUncosted(of pinned: [InvoiceFacts.Unpriced]) {
        let known = pinned.filter { $0.uncosted != nil }
        let events = Dictionary(
            compactMap { use in use.uncosted.map { (use.place, $0.events) } },
            uniquingKeysWith: { Swift.max($0, $1) }
        )
        let isPart = known.allSatisfy { use in
            guard let uncosted = use.uncosted, let all = events[use.place] else { return false }
            return all >= uncosted.events
        }
        if isPart { self = filter { $0.uncosted == nil } + known }
    }
}

extension InvoiceFacts.Discount {
    fileprivate func record(of tenant: TenantID) -> DiscountRecord {
        DiscountRecord(
            id: id,
            tenantID: tenant,
            name: name,
            value: percent.map { .percent($0) } ?? .amount(amount ?? .zero),
            duration: .forever,
            repeats: nil,
            uses: 0,
            createdAt: .minimum,
            endedAt: nil,
            updatedAt: .minimum,
            revision: 1
        )
    }
}

extension WholeInvoice {
    /// The use of credits as it is written beside them, and as the invoice says it; what a void one used is returned.
    fileprivate func creditUses(in transaction: borrowing Transaction) throws -> (written: String, said: String) {
        var said: [UUIDv7: FixedDecimal] = [:]
        for use in document.facts.credits { try said.add([use.id.rawValue: use.amount]) }
        for use in document.facts.returnedCredits { try said.add([use.id.rawValue: use.amount.negated]) }
        let isVoid = invoice.status == .void
        let written = try CreditGrantStore.applied(by: invoice.id, tenant: invoice.tenantID, in: transaction)
        func text(_ uses: [UUIDv7: (amount: FixedDecimal, isReturned: Bool)]) -> String {
            let parts = uses.sorted { $0.key < $1.key }.map { id, use in
                "\(use.amount) of \(id)\(use.isReturned ? ", returned" : "")"
            }
            return parts.isEmpty ? "nothing" : parts.joined(separator: "; ")
        }
        return (text(written), text(said.mapValues { ($0, isVoid) }))
    }

    /// Where two invoices first differ, for people.
    fileprivate func firstDifference(from other: WholeInvoice) -> (what: String, stored: String, rebuilt: String) {
        for (own, others) in zip(lines, other.lines) where own != others {
            let what = ", line \(own.number) (\(own.description))"
            if own.amount != others.amount || own.amountExact != others.amountExact {
                return (what, "\(own.amount) of \(own.amountExact)", "\(others.amount) of \(others.amountExact)")
            }
            return (what, "\(own)", "\(others)")
        }
        if lines.count != other.lines.count {
            return (": the number of lines", String(lines.count), String(other.lines.count))
        }
        if document.amounts != other.document.amounts {
            return (": its total", document.amounts.total.description, other.document.amounts.total.description)
        }
        return (": what it shows", document.facts.json.text, other.document.facts.json.text)
    }
}

extension UsageDifference {
    /// The row has the state of the invoice.
    fileprivate static func withoutRow(_ invoice: InvoiceID) -> UsageDifference {
        UsageDifference(
            tenant: "?",
            subject: "the row of invoice \(invoice)",
            stored: "missing",
            rebuilt: "one",
            source: "document and lines"
        )
    }

    fileprivate static func unreadable(_ what: String, _ error: any Error) -> UsageDifference {
        UsageDifference(tenant: "?", subject: what, stored: "there", rebuilt: "not read: \(error)")
    }
}
