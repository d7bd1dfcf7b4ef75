import BillingCore
package import Catalog
import HTTPTypes
import Limits
package import Logging
package import Postgres
import ServiceLifecycle
package import Usage
package import Web

/// Bounds of admission, from the configuration.
package struct AdmissionLimits: Sendable {
    package var lanes = 1
    /// How many calls wait in a lane at most.
    package var queuedCalls = 10_000
    /// How long a reservation can be settled as admitted, unless the call says.
    package var reservationSeconds = 900
    /// How long it goes on holding after that.
    package var suspenseSeconds = 3_600
    /// After so long without a decision the limits' failure policies answer.
    package var deadlineMilliseconds = 200

    package var deadline: AnswerDeadline { AnswerDeadline(milliseconds: deadlineMilliseconds) }

    package init() {}
}

/// Decides calls, many together, and answers by the limits' failure policies when it can't.
package final class AdmissionService: Service {
    private static let attempts = 8

    let limits: AdmissionLimits
    let calls: CallPreparation
    let catalog: Catalog
    let pool: PostgresPool
    let clock: Clock
    private let lanes: [AdmissionLane]
    private let unanswered: UnansweredReservations
    private let told: RefusalAlerts
    private let reading = DeadlineWork()

    package init(
        ingest: IngestService,
        catalog: Catalog,
        pool: PostgresPool,
        clock: Clock,
        limits: AdmissionLimits,
        logger: Logger
    ) {
        self.limits = limits
        self.catalog = catalog
        self.pool = pool
        self.clock = clock
        AdmissionMetrics.begin()
        let calls = CallPreparation(ingest)
        self.calls = calls
        let decider = AdmissionDecider(
            pool: pool,
            policy: calls.limits,
            clock: clock,
            deadline: .milliseconds(limits.deadlineMilliseconds)
        )
        let closing = ReservationClosing(catalog: catalog, pool: pool, policy: calls.limits, lane: .worker)
        let unanswered = UnansweredReservations(closing, clock: clock, logger: logger)
        self.unanswered = unanswered
        told = decider.told
        lanes = (0..<limits.lanes).map { _ in
            AdmissionLane(decider: decider, unanswered: unanswered, queuedCalls: limits.queuedCalls)
        }
    }

    /// Has alerts that are known to be told raised again: the database may not be the one that it was.
    package func forgetTold() { told.forgetAll() }

    package func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            for lane in lanes {
                group.addTask { await lane.run() }
            }
            group.addTask { [reading] in await reading.run() }
            group.addTask { [unanswered] in await unanswered.run() }
            await withGracefulShutdownHandler {
                await group.waitForAll()
            } onGracefulShutdown: { [lanes] in
                lanes.forEach { $0.close() }
            }
        }
        await unanswered.runLast()
    }

    /// What is decided of one call.
    enum CallAnswer: Sendable {
        /// - Parameter remark: what its event would be remarked on for.
        case decided(AdmissionOutcome, remark: EventStatus?)
        case unknownSubject
        case suspended
        case mitigated(Mitigation)
        /// The database did not answer in time; nothing is held, and the call may use what it asks for.
        case open(outputTokens: Int64?)
        /// It did not, and a limit that the call touches refuses then.
        case unavailable

        /// Whether it is the limits', or the tenant's, and not that of a failure policy.
        var isDecided: Bool {
            switch self {
            case .decided, .unknownSubject, .suspended, .mitigated: true
            case .open, .unavailable: false
            }
        }
    }

    /// Decides the calls of a request, each for itself.
    /// - Throws: `Problem` for calls that are not what they should be.
    func decide(
        _ asked: [AdmissionCall],
        by principal: Principal,
        within patience: Duration,
        isArray: Bool,
        isCheck: Bool
    ) async throws -> [CallAnswer] {
        // Of its credential it is known at once, whatever is known of the tenant.
        guard !principal.isTenantSuspended else { return asked.map { _ in .suspended } }
        let deadline = ContinuousClock.now + patience
        let entries: [Entry]
        do {
            entries = try await prepareInTime(
                asked,
                by: deadline,
                boundTo: principal.tenantID,
                isArray: isArray,
                isCheck: isCheck
            )
        } catch  where error.meansUnavailable {
            AdmissionMetrics.countUnavailable(isClosed: true)
            return asked.map { _ in .unavailable }
        }
        if entries.count == 1 {
            switch entries[0] {
            case .ready(let request):
                return [try await decide(request, by: deadline, boundTo: principal.tenantID)]
            case .answered(let answer): return [answer]
            }
        }
        return try await withThrowingTaskGroup(of: (Int, CallAnswer).self) { group in
            var answers: [CallAnswer?] = Array(repeating: nil, count: asked.count)
            for (index, entry) in entries.enumerated() {
                switch entry {
                case .ready(let request):
                    // In the order of the calls, as far as to their lane's queue.
                    group.addImmediateTask { [self] in
                        (index, try await decide(request, by: deadline, boundTo: principal.tenantID))
                    }
                case .answered(let answer):
                    answers[index] = answer
                }
            }
            for try await (index, answer) in group { answers[index] = answer }
            return answers.compactMap { $0 }
        }
    }

    private enum Entry: Sendable {
        case ready(AdmissionRequest)
        case answered(CallAnswer)
    }

    private func prepare(
        _ asked: [AdmissionCall],
        with calls: CallPreparation,
        boundTo tenant: TenantID?,
        isArray: Bool,
        isCheck: Bool
    ) async throws -> [Entry] {
        let now = clock.now()
        let numbered = asked.enumerated().map { (index: $0.offset, event: $0.element.event) }
        let prepared = try await calls.prepare(numbered, at: now, boundTo: tenant)
        guard prepared.faults.isEmpty else {
            throw Problem.validationFailed(
                prepared.faults.map { fault in
                    let prefix = isArray ? "/\(fault.index ?? 0)" : ""
                    return FieldFault(pointer: prefix + fault.pointer, code: fault.code, detail: fault.detail)
                }
            )
        }
        var entries: [Entry] = Array(repeating: .answered(.unknownSubject), count: asked.count)
        for call in prepared.calls {
            guard call.tenant.status == .active else {
                entries[call.index] = .answered(.suspended)
                continue
            }
            if let mitigation = call.mitigation(at: now) {
                entries[call.index] = .answered(.mitigated(mitigation))
                continue
            }
            do {
                entries[call.index] = .ready(
                    try await request(asked[call.index], call, with: calls, at: now, boundTo: tenant, isCheck: isCheck)
                )
            } catch is DecimalError {
                entries[call.index] = .answered(.decided(.outOfRange, remark: nil))
            }
        }
        return entries
    }

    private func request(
        _ asked: AdmissionCall,
        _ call: PreparedCall,
        with calls: CallPreparation,
        at now: Instant,
        boundTo tenant: TenantID?,
        isCheck: Bool
    ) async throws -> AdmissionRequest {
        let expiry = now.adding(seconds: Int64(asked.seconds ?? limits.reservationSeconds))
        let policy = calls.limits
        var later: [PreparedCall] = []
        var holds = try CallHold.all(of: call, later: [], policy: policy)
        if holds.contains(where: { $0.windowEnd <= expiry && $0.isHeld }) || !call.countsAlike(until: expiry) {
            later = try await CallTimes(of: call, until: expiry, policy: policy) { time in
                try await calls.prepare([(call.index, asked.event)], at: time, boundTo: tenant).calls.first
            }.later
            holds = try CallHold.all(of: call, later: later, policy: policy)
        }
        var shrunk: (@Sendable (Int64) throws -> [CallHold])?
        if asked.minimumOutputTokens != nil {
            shrunk = { [later] tokens in
                try CallHold.all(
                    of: try call.using(outputTokens: tokens),
                    later: try later.map { try $0.using(outputTokens: tokens) },
                    policy: policy
                )
            }
        }
        let life = ReservationLife(
            createdAt: now,
            expiresAt: expiry,
            suspenseEndsAt: expiry.adding(seconds: Int64(limits.suspenseSeconds))
        )
        var wanted: NewReservation?
        if !isCheck, !asked.isDryRun, holds.allSatisfy(\.isKnownBefore) {
            let tokens = asked.event.usage.outputTokens
            wanted = NewReservation(call, text: asked.text, life, holding: holds, tokens, ids: policy.ids)
        }
        return AdmissionRequest(
            call: asked,
            prepared: call,
            later: later,
            holds: holds,
            life: life,
            wanted: wanted,
            shrunk: shrunk,
            isCheck: isCheck
        )
    }

    /// Decides one call, preparing it anew as long as the catalogue moves on.
    private func decide(
        _ request: AdmissionRequest,
        by deadline: ContinuousClock.Instant,
        boundTo tenant: TenantID?
    ) async throws -> CallAnswer {
        var request = request
        for _ in 0..<Self.attempts {
            do {
                let lane = lanes[Int(truncatingIfNeeded: request.tenant.id.rawValue) % lanes.count]
                let outcome = try await lane.decide(request, by: deadline)
                return .decided(outcome, remark: request.prepared.remark)
            } catch let stale as StaleCatalog {
                // What is known of it has changed, and says nothing any more.
                let prepared: [Entry]
                do {
                    try await reading.result(by: deadline) { [calls] in try await calls.refresh(stale) }
                    prepared = try await prepareInTime(
                        [request.call],
                        by: deadline,
                        boundTo: tenant,
                        isArray: false,
                        isCheck: request.isCheck
                    )
                } catch  where error.meansUnavailable {
                    AdmissionMetrics.countUnavailable(isClosed: true)
                    return .unavailable
                }
                guard case .ready(let fresh)? = prepared.first else {
                    if case .answered(let answer)? = prepared.first { return answer }
                    return .unknownSubject
                }
                request = fresh
            } catch is DecimalError {
                return .decided(.outOfRange, remark: nil)
            } catch {
                return try withoutDecision(request, error)
            }
        }
        return try withoutDecision(request, AdmissionRefusal.catalogBusy)
    }

    /// What the limits that the call touches say of a failure: nothing passes, or everything.
    private func withoutDecision(_ request: AdmissionRequest, _ error: any Error) throws -> CallAnswer {
        guard error.meansUnavailable else { throw error }
        AdmissionMetrics.countUnavailable(isClosed: request.failsClosed)
        return request.failsClosed ? .unavailable : .open(outputTokens: request.outputTokens)
    }

    /// Prepares calls in time. Where everything is cached nothing is waited for. Where something can't be read or made
    /// in time, such as the billing period of a new month, the limits of a tenant that is known say what holds; one
    /// that is not known is refused, or, where it is asked for alone, what kept it from being read is thrown.
    private func prepareInTime(
        _ asked: [AdmissionCall],
        by deadline: ContinuousClock.Instant,
        boundTo tenant: TenantID?,
        isArray: Bool,
        isCheck: Bool
    ) async throws -> [Entry] {
        do {
            return try await prepare(asked, with: calls.cached, boundTo: tenant, isArray: isArray, isCheck: isCheck)
        } catch is NotCached {
            // Not here: what comes of reading is to be caught as well.
        }
        do {
            return try await reading.result(by: deadline) { [self] in
                try await prepare(asked, with: calls, boundTo: tenant, isArray: isArray, isCheck: isCheck)
            }
        } catch  where error.meansUnavailable {
            var entries: [Entry] = []
            // Each by itself: what one is not known of says nothing of the others.
            for call in asked {
                let known = try? await prepare(
                    [call],
                    with: calls.ofLimits,
                    boundTo: tenant,
                    isArray: isArray,
                    isCheck: isCheck
                )
                switch known?.first {
                case .ready(let request)?:
                    entries.append(.answered(try withoutDecision(request, error)))
                case let answered?:
                    entries.append(answered)
                case nil:
                    guard asked.count > 1 else { throw error }
                    AdmissionMetrics.countUnavailable(isClosed: true)
                    entries.append(.answered(.unavailable))
                }
            }
            return entries
        }
    }
}

extension Error {
    /// Whether it says that the database can't be asked, and not that something is wrong with the call.
    fileprivate var meansUnavailable: Bool {
        switch self {
        case is AdmissionRefusal, is DeadlineFault: true
        case let error as PostgresError:
            error.isUnavailable || error.isRetryable || error.outcomeUnknown || error.kind == .cancelled
        default: false
        }
    }
}

extension Problem {
    /// When a call is worth asking again that can't be decided now.
    static let limitsUnavailableSeconds: Int64 = 1

    static let limitsUnavailable = Problem(
        .serviceUnavailable,
        code: "limits_unavailable",
        detail: "A limit that the call touches can't be asked now, and refuses then. Try again.",
        headers: [.retryAfter: "\(limitsUnavailableSeconds)"]
    )
}
