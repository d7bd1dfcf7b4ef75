import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

/// The decisions of a flush, one call after the other, and what they are to write.
struct AdmissionDecisions {
    private(set) var outcomes: [AdmissionOutcome] = []
    private(set) var made: [NewReservation] = []
    private var known: [AdmissionKey: Reservation] = [:]
    private let ids: IDSource

    init(existing: [AdmissionKey: Reservation], ids: IDSource) {
        self.ids = ids
        known = existing
    }

    /// Whether it gives out again what is only made with these decisions.
    func isOfThis(_ outcome: AdmissionOutcome) -> Bool {
        guard case .repeated(let earlier, _) = outcome else { return false }
        return made.contains { $0.reservation.id == earlier.id }
    }

    /// - Parameter isAbandoned: whether nobody waits for the answer any more; then nothing is taken.
    mutating func decide(
        _ request: AdmissionRequest,
        isAbandoned: Bool,
        at now: Instant,
        with states: inout AdmissionStates
    ) {
        do {
            try decideInRange(request, isAbandoned: isAbandoned, at: now, with: &states)
        } catch {
            outcomes.append(.outOfRange)
        }
    }

    private mutating func decideInRange(
        _ request: AdmissionRequest,
        isAbandoned: Bool,
        at now: Instant,
        with states: inout AdmissionStates
    ) throws(DecimalError) {
        let key = request.key
        if !request.isCheck, let earlier = known[key] {
            guard earlier.contentHash == request.contentHash else {
                outcomes.append(.conflict)
                return
            }
            outcomes.append(
                earlier.status == .held
                    ? .repeated(earlier, states.standing(request.holds, of: request.call, at: now)) : .closed(earlier)
            )
            return
        }
        let keeps = !isAbandoned && !request.call.isDryRun
        // What is only checked holds nothing: it must fit, and uses its rates.
        let takesAll = keeps && !request.isCheck
        var (taken, tokens) = (request.holds, request.outputTokens)
        var verdict = try states.decide(taken, of: request.call, at: now, keeps: takesAll)
        if case .refused = verdict, let fewer = fewerTokens(request, states, now) {
            (taken, tokens) = (fewer.holds, fewer.tokens)
            // Where even the fewest do not fit, this tells what refuses those.
            verdict = try states.decide(taken, of: request.call, at: now, keeps: takesAll)
        }
        if request.isCheck, case .allowed = verdict {
            let rates = taken.filter { !$0.isHeld }
            _ = try states.decide(rates, of: request.call, at: now, keeps: keeps)
        }
        finish(verdict, request, tokens, reserving: takesAll ? taken : nil)
        if takesAll, let made = made.last, case .allowed = verdict { known[key] = made.reservation }
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
            let reservation = taken.map { taken in
                NewReservation(
                    request.prepared,
                    text: request.call.text,
                    request.life,
                    holding: taken,
                    tokens,
                    ids: ids
                )
            }
            if let reservation { made.append(reservation) }
            outcomes.append(.allowed(reservation: reservation?.reservation, touched, maximumOutputTokens: tokens))
        }
    }

    /// The greatest number of output tokens, below what was asked, that every limit admits; the call's minimum where
    /// none does. What a call takes rises with what it may use, so halving finds it; where a meter counts calls by
    /// their tokens it may not, and one that fits is found. With fewer tokens it must touch nothing that it doesn't as
    /// a whole: nothing else is locked.
    private func fewerTokens(
        _ request: AdmissionRequest,
        _ states: AdmissionStates,
        _ now: Instant
    ) -> (holds: [CallHold], tokens: Int64)? {
        guard let minimum = request.call.minimumOutputTokens, let shrunk = request.shrunk,
            let asked = request.outputTokens, minimum < asked
        else { return nil }
        var states = states
        let whole = Dictionary(request.holds.map { ($0.row, $0) }) { first, _ in first }
        func holds(_ tokens: Int64) -> [CallHold]? {
            guard let holds = try? shrunk(tokens), holds.allSatisfy({ $0.isPart(of: whole[$0.row]) }) else {
                return nil
            }
            return holds
        }
        func fitting(_ tokens: Int64) -> [CallHold]? {
            guard let holds = holds(tokens),
                case .allowed = try? states.decide(
                    holds,
                    of: request.call,
                    at: now,
                    keeps: false
                )
            else { return nil }
            return holds
        }
        var found = holds(minimum).map { (holds: $0, tokens: minimum) }
        // Most calls that are refused don't fit at all.
        guard found == nil || fitting(minimum) != nil else { return found }
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

    /// Whether it touches nothing that another hold of the same row does not: no counter of its own, whose price is not
    /// known.
    fileprivate func isPart(of whole: CallHold?) -> Bool {
        switch (take, whole?.take) {
        case (_, nil): false
        case (.tiers(let part, _), .tiers(let all, _)?): part.keys.allSatisfy { all[$0] != nil }
        case (.tiers, _?): false
        default: true
        }
    }
}
