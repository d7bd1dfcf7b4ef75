import CLibPQ

/// The conversation with one server process: what is sent in a round trip, what comes back, and where the transaction
/// is.
///
/// Used on its connection's thread only. Everything goes through libpq's pipeline mode: a round trip is a list of
/// messages and one Sync, so `BEGIN`, the role of a tenant, preparation and statements cost no waiting of their own.
final class Wire {
    /// Where the transaction is. `idle` -> `requested` (`begin`) -> `open` (first round trip) -> `idle` (`commit`,
    /// `abandon`); a failure leads from `open` to `failed`, whose only exit is `abandon`.
    private enum Phase {
        case idle
        case requested(PostgresScope)
        case open
        case failed(PostgresError)
    }

    /// Which result confirms that the work is durable.
    enum Ending {
        /// More may follow in this transaction.
        case open
        /// COMMIT's own, with its tag.
        case commit
        /// The Sync's, which ends the transaction around a statement that stands alone.
        case autocommit
    }

    private struct PendingCommit {
        /// Whether statements went with it whose results are wanted.
        let hasResults: Bool
        /// Nil until it is read.
        var outcome: Result<[PostgresResult], PostgresError>?
        let tell: (Result<[PostgresResult], PostgresError>) -> Void
    }

    let pipeline: Pipeline
    private let cancellation: CancelSwitch
    private let tenantSetting: String
    private var outbox: [SQL] = []
    private var afterwards: [@Sendable () -> Void] = []
    private var phase = Phase.idle
    private var isTenantScoped = false
    private var ticket = CancelTicket()
    /// The COMMIT that was sent last, until it is told of.
    private var committing: PendingCommit?
    private let discardsOldPlans: Bool
    private var plannedAt = ContinuousClock.now

    /// Connects and sets the session up. Takes one round trip after the login and one for the driver's own statements.
    init(_ configuration: PostgresConfiguration, cancellation: CancelSwitch) throws(PostgresError) {
        let session = try Session(configuration)
        self.cancellation = cancellation
        discardsOldPlans = configuration.plansForKeyLookups
        tenantSetting = configuration.tenantSetting.split(separator: ".").map { quotedIdentifier(String($0)) }
            .joined(separator: ".")
        var setup = """
            SET jit = off;
            SET statement_timeout = \(configuration.statementTimeoutMilliseconds);
            SET idle_in_transaction_session_timeout = \(configuration.idleInTransactionTimeoutMilliseconds);
            SET timezone = 'UTC';
            """
        if configuration.plansForKeyLookups {
            setup += """
                SET plan_cache_mode = force_generic_plan;
                SET enable_hashjoin = off;
                SET enable_mergejoin = off;
                SET enable_seqscan = off;
                """
        }
        if let role = configuration.serviceRole {
            setup += "SET ROLE \(quotedIdentifier(role));"
        }
        try session.run(setup)
        pipeline = try Pipeline(session, configuration)
        try pipeline.prepareControls(tenantRole: configuration.tenantRole)
        cancellation.retarget(session.handle)
    }

    /// Whether the connection can be used again. Notices a server that went away while nothing was asked of it.
    var isUsable: Bool { pipeline.isUsable }

    /// Starts a transaction; nothing is sent before the first statement.
    func begin(_ scope: PostgresScope, ticket: CancelTicket) {
        phase = .requested(scope)
        isTenantScoped = scope != .service
        self.ticket = ticket
        outbox.removeAll(keepingCapacity: true)
        afterwards.removeAll()
    }

    /// Keeps a statement for the next round trip.
    func enqueue(_ statement: SQL) {
        outbox.append(statement)
    }

    /// Keeps what is to be done once the transaction is committed.
    func runAfterCommit(_ action: @escaping @Sendable () -> Void) {
        afterwards.append(action)
    }

    /// Does what was kept until the transaction was committed.
    func runAfterwards() {
        let actions = afterwards
        afterwards.removeAll()
        actions.forEach { $0() }
    }

    /// Sends what is enqueued and `statements`, and returns the results of `statements`.
    func roundTrip(_ statements: [SQL]) throws(PostgresError) -> [PostgresResult] {
        if case .failed(let error) = phase {
            throw error
        }
        return try exchange(statements, ending: .open)
    }

    /// One statement in a transaction of its own, in one round trip.
    func alone(
        _ statement: SQL,
        as scope: PostgresScope,
        ticket: CancelTicket
    ) throws(PostgresError) -> PostgresResult? {
        begin(scope, ticket: ticket)
        if case .service = scope {
            phase = .idle
            return try exchange([statement], ending: .autocommit).first
        }
        return try exchange([statement], ending: .commit).first
    }

    /// Ends the transaction with what is enqueued. Throws, the transaction rolled back, when any statement of it
    /// failed, even if the failure was swallowed.
    func commit() throws(PostgresError) {
        switch phase {
        case .failed(let error):
            throw error
        case .idle:
            return
        case .requested where outbox.isEmpty:
            phase = .idle
        case .requested, .open:
            _ = try exchange([], ending: .commit)
        }
    }

    /// Whether a COMMIT was sent that was not told of yet.
    var isCommitting: Bool { committing != nil }

    /// Sends what is enqueued, `statements` and COMMIT, without awaiting the answers: the next transaction may begin.
    /// `done` is told of the outcome, with the results of `statements`, when the next answers are read, or by
    /// `awaitCommit`.
    /// - Throws: like `commit`; then `done` is not told.
    func commitLater(
        with statements: [SQL],
        _ done: @escaping (Result<[PostgresResult], PostgresError>) -> Void
    ) throws(PostgresError) {
        switch phase {
        case .failed(let error):
            throw error
        case .idle:
            preconditionFailure("there is no transaction to commit")
        case .requested where statements.isEmpty && outbox.isEmpty:
            phase = .idle
            runAfterwards()
            done(.success([]))
        case .requested, .open:
            try send(statements, ending: .commit)
            pipeline.sync()
            awaitCommit()
            let actions = afterwards
            committing = PendingCommit(hasResults: !statements.isEmpty) { outcome in
                if case .success = outcome { actions.forEach { $0() } }
                done(outcome)
            }
            phase = .idle
        }
    }

    /// Awaits the results that come with the COMMIT that was sent last, if there are any. Whoever is told of them is
    /// told later, so that more can be sent first; of a failure at once.
    func awaitResults() {
        guard let pending = committing, pending.hasResults, pending.outcome == nil else { return }
        let outcome = readCommit()
        committing?.outcome = outcome
        if case .failure = outcome { awaitCommit() }
    }

    /// Tells of the COMMIT that was sent last, if that was not done yet.
    func awaitCommit() {
        guard let pending = committing else { return }
        committing = nil
        pending.tell(pending.outcome ?? readCommit())
    }

    private func readCommit() -> Result<[PostgresResult], PostgresError> {
        do throws(PostgresError) {
            let replies = try pipeline.receiveRound()
            if let failure = replies.failure { throw failure }
            try Self.checkCommitted(replies)
            return .success(replies.results)
        } catch {
            return .failure(error.kind == .connection ? error.with(outcomeUnknown: true) : error)
        }
    }

    /// Leaves the connection without a transaction, whatever happened; if that fails, the connection is unusable.
    func abandon() {
        outbox.removeAll(keepingCapacity: true)
        phase = .idle
        awaitCommit()
        guard pipeline.isUsable, !pipeline.isOutsideTransaction else { return }
        do {
            pipeline.sendControl(.rollback)
            let replies = try pipeline.finish()
            if replies.failure != nil || !pipeline.isOutsideTransaction {
                pipeline.breakOff()
            }
        } catch {
            pipeline.breakOff()
        }
    }

    private func exchange(_ statements: [SQL], ending: Ending) throws(PostgresError) -> [PostgresResult] {
        do throws(PostgresError) {
            try cancellation.enter(ticket)
        } catch {
            throw fail(error)
        }
        defer { if !cancellation.leave() { pipeline.breakOff() } }
        try send(statements, ending: ending)
        pipeline.sync()
        awaitCommit()
        return try receive(ending)
    }

    private func send(_ statements: [SQL], ending: Ending) throws(PostgresError) {
        let enqueued = outbox
        outbox.removeAll(keepingCapacity: true)
        for statement in enqueued + statements where statement.parameters.entries.count > Int(UInt16.max) {
            throw fail(PostgresError(.server, "more than 65,535 parameters", statement: statement.text))
        }
        if case .requested(let scope) = phase {
            pipeline.sendControl(.begin)
            if case .tenant(let identifier) = scope {
                pipeline.sendControl(.tenantRole)
                pipeline.sendUnnamed(SQL(trusted: "SET LOCAL \(tenantSetting) = '\(identifier)'"))
            }
            discardOldPlans()
            phase = .open
        }
        for statement in enqueued {
            pipeline.send(statement, isTenantScoped: isTenantScoped, isWanted: false)
        }
        for statement in statements {
            pipeline.send(statement, isTenantScoped: isTenantScoped, isWanted: true)
        }
        if ending == .commit {
            pipeline.sendControl(.commit)
        }
    }

    private func discardOldPlans() {
        guard discardsOldPlans, plannedAt.duration(to: .now) >= PostgresConfiguration.planLifetime else { return }
        pipeline.sendUnnamed("DISCARD PLANS")
        plannedAt = .now
    }

    private func receive(_ ending: Ending) throws(PostgresError) -> [PostgresResult] {
        let replies: Pipeline.Replies
        do throws(PostgresError) {
            replies = try pipeline.receiveRound()
        } catch {
            // Until COMMIT's own result has come, or the Sync's, nobody knows.
            throw fail(ending == .open ? error : error.with(outcomeUnknown: true))
        }
        if let failure = replies.failure {
            let isOurs = ticket.isCancelled && failure.sqlState == .queryCanceled
            throw fail(isOurs ? failure.with(kind: .cancelled) : failure)
        }
        switch ending {
        case .open:
            guard !pipeline.isOutsideTransaction else {
                throw fail(
                    PostgresError(.server, "a statement ended the transaction", sqlState: .noActiveTransaction)
                )
            }
        case .commit:
            do throws(PostgresError) {
                try Self.checkCommitted(replies)
            } catch {
                throw fail(error)
            }
            phase = .idle
        case .autocommit:
            break
        }
        return replies.results
    }

    /// COMMIT of a failed transaction succeeds, and says ROLLBACK.
    private static func checkCommitted(_ replies: Pipeline.Replies) throws(PostgresError) {
        guard replies.commitTag == "COMMIT" else {
            throw PostgresError(.server, "the transaction was rolled back", sqlState: .inFailedTransaction)
        }
    }

    private func fail(_ error: PostgresError) -> PostgresError {
        phase = .failed(error)
        return error
    }
}
