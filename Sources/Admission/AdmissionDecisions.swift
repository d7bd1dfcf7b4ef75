import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// The decisions of a flush, one call after the other, and what they are to write.
struct AdmissionDecisions {
    private(set) var outcomes: [AdmissionOutcome] = []
    private(set) var reservations: [Reservation] = []
    private(set) var keys: [PostgresUUID] = []
    private(set) var calls: [ReservedCall] = []
    private(set) var holds: [ReservationHold] = []
    private var known: [Key: Reservation] = [:]
    private let ids: IDSource

    private struct Key: Hashable {
        let tenant: TenantID
        let high: UInt64
        let low: UInt64

        init(_ tenant: TenantID, _ key: PostgresUUID) {
            self.tenant = tenant
            high = key.high
            low = key.low
        }
    }

    init(existing: [(key: PostgresUUID, reservation: Reservation)], ids: IDSource) {
        self.ids = ids
        for (key, reservation) in existing { known[Key(reservation.tenantID, key)] = reservation }
    }

    /// - Parameter isAbandoned: whether nobody waits for the answer any more; then nothing is taken.
    mutating func decide(
        _ request: AdmissionRequest,
        isAbandoned: Bool,
        at now: Instant,
        with states: inout AdmissionStates
    ) throws(DecimalError) {
        let key = Key(request.tenant.id, request.key)
        if !request.isCheck, !request.call.isDryRun, let earlier = known[key] {
            guard earlier.contentHash == request.prepared.pending.event.contentHash else {
                outcomes.append(.conflict)
                return
            }
            outcomes.append(earlier.status == .held ? .repeated(earlier) : .closed(earlier))
            return
        }
        let keeps = !isAbandoned && !request.call.isDryRun
        var taken = request.isCheck ? request.holds.filter { !$0.isHeld } : request.holds
        var tokens = request.outputTokens
        if request.isCheck {
            // What is only checked holds nothing: it must fit, and uses its rates.
            let fits = try states.decide(request.holds, criticality: request.call.criticality, at: now, keeps: false)
            guard case .allowed = fits else { return finish(fits, request, tokens, reserving: nil) }
            _ = try states.decide(taken, criticality: request.call.criticality, at: now, keeps: keeps)
            return finish(fits, request, tokens, reserving: nil)
        }
        var verdict = try states.decide(taken, criticality: request.call.criticality, at: now, keeps: keeps)
        if case .refused = verdict, let fewer = fewerTokens(request, states, now) {
            (taken, tokens) = (fewer.holds, fewer.tokens)
            verdict = try states.decide(taken, criticality: request.call.criticality, at: now, keeps: keeps)
        }
        finish(verdict, request, tokens, reserving: keeps ? taken : nil)
        if keeps, let made = reservations.last, case .allowed = verdict { known[key] = made }
    }

    private mutating func finish(
        _ verdict: AdmissionStates.Verdict,
        _ request: AdmissionRequest,
        _ tokens: Int64?,
        reserving taken: [CallHold]?
    ) {
        switch verdict {
        case .refused(let violations):
            outcomes.append(.refused(violations))
        case .allowed(let touched):
            let made = taken.map { reserve(request, $0, tokens) }
            outcomes.append(.allowed(reservation: made, touched, maximumOutputTokens: tokens))
        }
    }

    private mutating func reserve(_ request: AdmissionRequest, _ taken: [CallHold], _ tokens: Int64?) -> Reservation {
        let event = request.prepared.pending.event
        let reservation = Reservation(
            tenantID: request.tenant.id,
            id: ReservationID(rawValue: ids.next()),
            source: event.source,
            admissionID: event.id,
            eventType: event.type,
            subject: event.subject,
            createdAt: request.createdAt,
            expiresAt: request.expiresAt,
            suspenseEndsAt: request.suspenseEndsAt,
            maximumOutputTokens: tokens,
            contentHash: event.contentHash,
            use: ReservedUse(
                model: event.usage.model,
                feature: event.usage.feature,
                dataClass: event.property("data_class")?.text
            )
        )
        reservations.append(reservation)
        keys.append(request.key)
        calls.append(ReservedCall(text: request.call.text, attribution: event.attribution))
        let name = TenantReservation(tenant: reservation.tenantID, id: reservation.id)
        // Two limits on charges hold quantities in rows of their own, but one limit's two windows may share none.
        for hold in taken {
            holds += hold.frees.map { ReservationHold(reservation: name, row: $0.row, amount: $0.amount) }
        }
        return reservation
    }

    /// The greatest number of output tokens, below what was asked and not below the call's minimum, that every limit
    /// admits. What a call takes never falls as it may use more, so halving finds it.
    private func fewerTokens(
        _ request: AdmissionRequest,
        _ states: AdmissionStates,
        _ now: Instant
    ) -> (holds: [CallHold], tokens: Int64)? {
        guard let minimum = request.call.minimumOutputTokens, let shrunk = request.shrunk,
            let asked = request.outputTokens, minimum < asked
        else { return nil }
        var states = states
        func fitting(_ tokens: Int64) -> [CallHold]? {
            guard let holds = try? shrunk(tokens),
                case .allowed = try? states.decide(
                    holds,
                    criticality: request.call.criticality,
                    at: now,
                    keeps: false
                )
            else { return nil }
            return holds
        }
        // Most calls that are refused don't fit at all.
        guard let least = fitting(minimum) else { return nil }
        var found = (holds: least, tokens: minimum)
        var (low, high) = (minimum + 1, asked - 1)
        while low <= high {
            let middle = low + (high - low) / 2
            guard let holds = fitting(middle) else {
                high = middle - 1
                continue
            }
            found = (holds, middle)
            low = middle + 1
        }
        return found
    }
}

extension CallHold {
    /// Whether it is held until usage settles it, as opposed to a rate, which is used at once.
    var isHeld: Bool {
        if case .rate = take { false } else { true }
    }
}
