import BillingCore
import Catalog
import HTTPTypes
import Identity
import Limits
import Postgres
import Usage
package import Web

/// `/admissions`: whether calls may be made, and the reservations of those that may.
package struct AdmissionRoutes: Sendable {
    let admission: AdmissionService

    package init(admission: AdmissionService) {
        self.admission = admission
    }

    package func register(in operations: Operations) {
        operations.post(
            "/admissions",
            "admit",
            scope: .admissionsWrite,
            isQuiet: true,
            isBrief: true,
            isAnsweredInOutage: true,
            handler: admit
        )
        operations.get(
            "/admissions/check",
            "checkAdmission",
            scope: .admissionsWrite,
            isQuiet: true,
            isBrief: true,
            isAnsweredInOutage: true,
            handler: check
        )
        // Envoy asks with the method of the call that it is about, and maybe with its media type.
        operations.post(
            "/admissions/check",
            "checkPosted",
            scope: .admissionsWrite,
            mediaTypes: ["*/*"],
            isQuiet: true,
            isBrief: true,
            isAnsweredInOutage: true,
            tellsSuspension: true,
            readsQuery: true,
            handler: check
        )
        operations.get("/admissions/{id}", "getAdmission", scope: .admissionsWrite, handler: get)
        operations.post("/admissions/{id}/release", "releaseAdmission", scope: .admissionsWrite, handler: release)
        operations.post("/admissions/{id}/extend", "extendAdmission", scope: .admissionsWrite, handler: extend)
    }

    /// A refusal is an answer, not an error.
    @Sendable
    private func admit(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let input = try request.withBody { try AdmissionInput($0, by: context.principal) }
        let bodies = try await decide(input.calls, context, isArray: input.isArray)
        if input.isArray { return .json { $0.object { $0.array("data", bodies) { $1.write(to: &$0) } } } }
        let body = bodies[0]
        guard body.reason != AdmissionBody.Refusal.conflict.rawValue else { throw Problem.admissionConflict }
        try body.requireAnswer()
        var answer = Answer.json { body.write(to: &$0) }
        for field in body.rateFields { answer.headers.append(field) }
        return answer
    }

    /// For reverse proxies: the call in header fields, the answer in the status and header fields.
    @Sendable
    private func check(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let admittance = query.oneOf("admit_with", AdmittedStatus.self)
        let denial = query.oneOf("deny_with", DenialStatus.self)
        try query.finish()
        do {
            let check = try AdmissionCheck(request, context)
            // A proxy passes it on to whoever calls.
            let body = try await decide([check.call], context, isCheck: !check.reserves, tellsAll: false)[0]
            try body.requireAnswer()
            return check.answer(body, admittingWith: admittance, refusingWith: denial)
        } catch  where error is Problem || error is ValidationFailure {
            throw AdmissionCheck.inFields(Problem(mapping: error))
        }
    }

    private func decide(
        _ calls: [AdmissionCall],
        _ context: RequestContext,
        isArray: Bool = false,
        isCheck: Bool = false,
        tellsAll: Bool = true
    ) async throws -> [AdmissionBody] {
        for (index, call) in calls.enumerated() {
            let beyond = context.principal.narrowing.refusals(of: call.event)
            guard beyond.isEmpty else {
                throw Problem.useNotAllowed(
                    detail: Narrowing.refusal(of: "call", for: beyond),
                    errors: beyond.map { refusal in
                        let prefix = isArray ? "/\(index)" : ""
                        return FieldFault(
                            pointer: prefix + refusal.pointer,
                            code: refusal.code,
                            detail: refusal.detail
                        )
                    }
                )
            }
        }
        let answers = try await admission.decide(
            calls,
            by: context.principal,
            within: admission.limits.deadline.left(afterAuthentication: context.authenticationTook),
            isArray: isArray,
            isCheck: isCheck
        )
        let (shared, now) = (admission.catalog.current, context.clock.now())
        let isForOperator = tellsAll && context.principal.isOperatorWide
        return answers.map { answer in
            let body = AdmissionBody(answer, tellsAll: isForOperator, catalog: shared, at: now)
            if answer.isDecided { AdmissionMetrics.count(body.cause) }
            return body
        }
    }

    @Sendable
    private func get(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.query().finish()
        return try .json(ReservationDetail(try await reservation(request, context)))
    }

    /// Releasing twice releases once; what usage has settled or time has ended stays so.
    @Sendable
    private func release(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        try request.fields(emptyIsObject: true).finish()
        let found = try await reservation(request, context)
        let closing = ReservationClosing(
            catalog: admission.catalog,
            pool: admission.pool,
            policy: admission.calls.limits,
            lane: .interactive
        )
        do {
            _ = try await closing.close([found.id], of: found.tenantID, as: .released, at: context.clock.now())
        } catch is StaleCatalog {
            throw Problem.limitsUnavailable
        }
        let after = try await admission.pool.query(
            .interactive,
            ReservationStore.reservation(found.id, of: found.tenantID),
            ReservationStore.decode
        ).first
        guard let after else { throw Problem.notFound("admission", found.id.description) }
        guard after.status == .released else { throw Problem.admissionClosed(after) }
        return try .json(ReservationDetail(after))
    }

    /// Gives a call that takes longer more time.
    @Sendable
    private func extend(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let fields = try request.fields(emptyIsObject: true)
        let seconds = fields.optionalInteger("ttl_seconds", in: 1...AdmissionCall.longestSeconds)
        try fields.finish()
        let found = try await reservation(request, context)
        let now = context.clock.now()
        let expiry = now.adding(seconds: Int64(seconds ?? admission.limits.reservationSeconds))
        guard found.status != .held || expiry <= found.latestExpiry else { throw Problem.extendsTooLong(found) }
        let outcome: ReservationExtension.Outcome
        do {
            outcome = try await ReservationExtension(admission: admission).extend(found, to: expiry, at: now)
        } catch is DecimalError {
            throw Problem.amountOutOfRange
        }
        switch outcome {
        case .extended(let extended): return try .json(ReservationDetail(extended))
        case .closed(let closed): throw Problem.admissionClosed(closed)
        case .refused(let violations):
            let limits = violations.map(\.limit).filter { context.principal.isOperatorWide || !$0.isOperatorOnly }
            let names = limits.map { "'\($0.name(in: admission.catalog.current))'" }.joined(separator: ", ")
            throw Problem.extendsBeyondWindow(
                "The call could still be running in another window then, where \(names.isEmpty ? "a limit" : names) "
                    + "has no room for it."
            )
        case .unreadable:
            throw Problem.extendsBeyondWindow("What the call would hold at the new end can't be told any more.")
        }
    }

    /// The reservation in the path, if the caller may know of it.
    private func reservation(_ request: APIRequest, _ context: RequestContext) async throws -> Reservation {
        let id = try request.id(ReservationID.self, of: "admission")
        let found = try await admission.pool.query(
            .interactive,
            as: context.databaseScope,
            ReservationStore.reservation(id, of: context.principal.tenantID),
            ReservationStore.decode
        ).first
        guard let found, context.principal.mayAccess(tenant: found.tenantID) else {
            throw Problem.notFound("admission", id.description)
        }
        let beyond = context.principal.narrowing.refusals(
            model: found.use.model,
            feature: found.use.feature,
            dataClass: found.use.dataClass
        )
        guard beyond.isEmpty else {
            throw Problem.useNotAllowed(
                detail: Narrowing.refusal(of: "reservation", for: beyond),
                errors: []
            )
        }
        return found
    }
}

extension AdmissionBody {
    /// - Throws: `Problem` where there is no decision on the call, as its caller is told that asks for it alone.
    fileprivate func requireAnswer() throws(Problem) {
        switch reason {
        case AdmissionBody.Refusal.unavailable.rawValue: throw Problem.limitsUnavailable
        case AdmissionBody.Refusal.outOfRange.rawValue: throw Problem.amountOutOfRange
        default: break
        }
    }
}

/// A reservation as it is read.
private struct ReservationDetail: Encodable {
    let id: ReservationID
    let status: String
    let source: String
    let admission: String
    let type: String
    let subject: String
    let createdAt: Instant
    let expiresAt: Instant
    /// Until when it goes on holding after it has expired.
    let suspenseEndsAt: Instant
    let closedAt: Instant?
    let maxOutputTokens: Int64?

    init(_ reservation: Reservation) {
        id = reservation.id
        status = reservation.status.rawValue
        source = reservation.source
        admission = reservation.admissionID
        type = reservation.eventType
        subject = reservation.subject
        createdAt = reservation.createdAt
        expiresAt = reservation.expiresAt
        suspenseEndsAt = reservation.suspenseEndsAt
        closedAt = reservation.closedAt
        maxOutputTokens = reservation.maximumOutputTokens
    }
}

extension Problem {
    fileprivate static let amountOutOfRange = Problem(
        .unprocessableContent,
        code: "amount_out_of_range",
        detail: "What the call would hold of a limit is 10^26 or more."
    )

    fileprivate static let admissionConflict = Problem.conflict(
        code: "admission_conflict",
        detail: "Another call was admitted under this source and id. An id names one call; the first one stands."
    )

    fileprivate static func extendsBeyondWindow(_ reason: String) -> Problem {
        .conflict(code: "extends_beyond_window", detail: reason + " The reservation ends as before.")
    }

    fileprivate static func extendsTooLong(_ reservation: Reservation) -> Problem {
        .conflict(
            code: "extends_too_long",
            detail: "A reservation lives for \(Reservation.longestLifeDays) days at most, this one until "
                + "\(reservation.latestExpiry). It ends as before."
        )
    }

    fileprivate static func admissionClosed(_ reservation: Reservation) -> Problem {
        .conflict(
            code: "admission_closed",
            detail: reservation.status == .held
                ? "The reservation expired at \(reservation.expiresAt). It can be settled or released until "
                    + "\(reservation.suspenseEndsAt), and not extended."
                : "The reservation can't be changed any more: it is \(reservation.status)."
        )
    }
}
