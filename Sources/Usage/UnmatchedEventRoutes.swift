import BillingCore
import Identity
package import Postgres
package import Web

/// `GET /unmatched-events` and `POST /unmatched-events/replay`. Both concern events without a tenant, so a
/// tenant-bound credential sees none of them.
package struct UnmatchedEventRoutes: Sendable {
    /// How many events one replay takes at most.
    private static let replayLimit = 10_000

    let ingest: IngestService
    let pool: PostgresPool
    let writes: IdempotentWrites

    package init(ingest: IngestService, pool: PostgresPool, writes: IdempotentWrites) {
        self.ingest = ingest
        self.pool = pool
        self.writes = writes
    }

    package func register(in operations: Operations) {
        operations.get("/unmatched-events", "listUnmatchedEvents", scope: .eventsRead, handler: list)
        operations.post("/unmatched-events/replay", "replayUnmatchedEvents", scope: .eventsWrite, handler: replay)
    }

    @Sendable
    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let subject = query.string("subject", maximumLength: 512)
        let page = query.page()
        try query.finish()
        guard context.principal.isOperatorWide else {
            return try Answer.json(Page<UnmatchedEventBody>(data: [], nextCursor: nil))
        }
        let after = try page.after.map { position in
            guard position.count == 1, let key = EventKey(position[0]) else { throw PageRequest.invalidCursor }
            return key
        }
        let records = try await pool.query(
            .interactive,
            UnmatchedEventStore.waiting(subject: subject, after: after, limit: page.fetchCount),
            UnmatchedEventStore.decode
        )
        return try Answer.json(page.page(records) { [$0.key.description] }.map(UnmatchedEventBody.init))
    }

    @Sendable
    private func replay(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let fields = try request.fields(emptyIsObject: true)
        let subject = fields.optionalString("subject", maximumLength: 512)
        let limit = fields.optionalInteger("limit", in: 1...Self.replayLimit)
        try fields.finish()
        guard context.principal.isOperatorWide else {
            throw Problem.forbidden(
                code: "operator_only",
                detail: "Events without a tenant are replayed by a credential that is not bound to one."
            )
        }
        var counted = ReplayReport()
        for _ in 0..<ingest.limits.preparationAttempts {
            do {
                counted.overflowing = 0
                let replay = try await UnmatchedReplay(
                    subject: subject,
                    limit: (limit ?? Self.replayLimit) - counted.settled,
                    by: ingest
                )
                do {
                    return try await finish(replay, after: counted, request, context)
                } catch  where error.isOverflow {
                    try await count(replay, context, into: &counted)
                    return try await finish(replay.ofNothing, after: counted, request, context)
                }
            } catch let stale as StaleCatalog {
                try await ingest.refresh(stale)
            } catch {
                throw Self.problem(of: error, after: counted)
            }
        }
        throw Self.problem(of: IngestRefusal.catalogBusy, after: counted)
    }

    /// What is answered where a replay ends early: also how much of it was counted before.
    private static func problem(of error: any Error, after counted: ReplayReport) -> any Error {
        let told = Problem.ofIngest(error)
        guard counted.settled > 0, var problem = told as? Problem else { return told }
        problem.detail += " \(counted.settled) events were taken before that; ask again for the others."
        return problem
    }

    /// Counts a replay and answers what became of all.
    /// - Parameter counted: what was counted before.
    private func finish(
        _ replay: UnmatchedReplay,
        after counted: ReplayReport,
        _ request: APIRequest,
        _ context: RequestContext
    ) async throws -> Answer {
        try await writes.perform(request, context) { transaction in
            var report = counted
            report.add(try run(replay, context, in: transaction))
            return try Answer.json(report)
        }
    }

    /// Counts a replay by which a counter overflows in parts, each in a transaction of its own: what holds such an
    /// event is halved until it stands alone, and is left waiting.
    /// - Parameter counted: what was counted is added, also where this throws.
    private func count(
        _ replay: UnmatchedReplay,
        _ context: RequestContext,
        into counted: inout ReplayReport
    ) async throws {
        var waiting = [replay]
        var overflows = 0
        while let part = waiting.popLast() {
            do {
                counted.add(
                    try await pool.transaction(.interactive, retries: .idempotent(attempts: 3)) { transaction in
                        try run(part, context, in: transaction)
                    }
                )
            } catch  where error.isOverflow {
                overflows += 1
                if part.eventCount > 1, overflows < IngestService.halvings {
                    waiting += part.halves.reversed()
                } else {
                    counted.overflowing += part.eventCount
                }
            }
        }
    }

    private func run(
        _ replay: UnmatchedReplay,
        _ context: RequestContext,
        in transaction: borrowing Transaction
    ) throws -> ReplayReport {
        let report = try replay.run(in: transaction)
        try AuditLog.record(
            in: transaction,
            by: context,
            action: "unmatched_events.replayed",
            resource: ("unmatched_events", replay.subject ?? "*"),
            tenant: .operatorWide,
            after: report
        )
        return report
    }
}

/// An unmatched event as it is answered.
struct UnmatchedEventBody: Encodable, Sendable {
    let source: String
    let id: String
    let type: String
    let subject: String
    let time: Instant
    let receivedAt: Instant
    let clientID: String?
    let event: JSONValue

    init(_ record: UnmatchedRecord) throws(JSONFault) {
        source = record.source
        id = record.id
        type = record.type
        subject = record.subject
        time = record.time
        receivedAt = record.receivedAt
        clientID = record.attribution.clientID
        event = try JSONValue(parsing: record.event)
    }
}
