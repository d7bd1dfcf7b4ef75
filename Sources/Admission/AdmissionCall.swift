import BillingCore
import Catalog
import Limits
import Usage
import Web

/// A call that asks whether it may be made: described like the usage event that will report it, with estimated values.
struct AdmissionCall: Sendable {
    static let longestSeconds = 86_400

    let event: UsageEvent
    /// What the event was read from.
    let text: String
    /// How long the reservation can be settled as admitted; nil for the service's default.
    let seconds: Int?
    /// Decides and holds nothing.
    let isDryRun: Bool
    /// Where the call as a whole exceeds a limit, it may use fewer output tokens, down to so many.
    let minimumOutputTokens: Int64?
    let criticality: Criticality
}

extension AdmissionCall {
    /// What was asked when a call was admitted that is still open; nil where it can't be read any more.
    init?(_ reserved: ReservedCall) {
        let batch = EventDecoder(maximumEvents: 1, attribution: reserved.attribution)
            .decode(Array(reserved.text.utf8), as: .plain)
        guard let event = batch.events.first else { return nil }
        self.event = event
        text = reserved.text
        seconds = nil
        isDryRun = false
        minimumOutputTokens = nil
        criticality = .default
    }
}

/// What `POST /admissions` asks: one call, or several that are decided one by one.
struct AdmissionInput: Sendable {
    static let maximumCalls = 100

    private(set) var calls: [AdmissionCall] = []
    let isArray: Bool

    /// - Throws: `ValidationFailure` with every fault of every call.
    init(_ body: JSONValue, attribution: Attribution) throws {
        let elements: [JSONValue]
        if case .array(let array) = body {
            (elements, isArray) = (array, true)
        } else {
            (elements, isArray) = ([body], false)
        }
        var faults: [FieldFault] = []
        if elements.isEmpty || elements.count > Self.maximumCalls {
            let detail = "the body must be one call, or an array of 1 to \(Self.maximumCalls) calls"
            faults.append(FieldFault(pointer: "", code: "invalid_length", detail: detail))
        }
        for (index, element) in elements.prefix(Self.maximumCalls).enumerated() {
            let prefix = isArray ? "/\(index)" : ""
            do {
                calls.append(try Self.call(element, attribution))
            } catch let failure as ValidationFailure {
                faults += failure.faults.map {
                    FieldFault(pointer: prefix + $0.pointer, code: $0.code, detail: $0.detail)
                }
            }
        }
        guard faults.isEmpty else { throw ValidationFailure(faults) }
    }

    private static let ownNames: Set<String> = ["ttl_seconds", "dry_run", "min_output_tokens", "criticality"]

    /// Reads what is the admission's own, and the rest like an event.
    private static func call(_ body: JSONValue, _ attribution: Attribution) throws -> AdmissionCall {
        guard case .object(let members) = body else {
            throw ValidationFailure([FieldFault(pointer: "", code: "invalid_type", detail: "a call must be an object")])
        }
        let fields = JSONObjectReader(.object(members.filter { ownNames.contains($0.name) }))
        let seconds = fields.optionalInteger("ttl_seconds", in: 1...AdmissionCall.longestSeconds)
        let minimum = fields.optionalInteger("min_output_tokens", in: 1...Int64.max)
        let isDryRun = fields.bool("dry_run", default: false)
        let criticality: Criticality = fields.choice("criticality", default: .default)
        let bytes = JSONValue.object(members.filter { !ownNames.contains($0.name) }).bytes
        let batch = EventDecoder(maximumEvents: 1, attribution: attribution).decode(bytes, as: .plain)
        var faults = fields.faults
        faults += batch.faults.map { FieldFault(pointer: $0.pointer, code: $0.code, detail: $0.detail) }
        if let event = batch.events.first { faults += foreign(to: event) }
        guard let event = batch.events.first, faults.isEmpty else { throw ValidationFailure(faults) }
        return AdmissionCall(
            event: event,
            text: String(decoding: bytes, as: UTF8.self),
            seconds: seconds,
            isDryRun: isDryRun,
            minimumOutputTokens: minimum,
            criticality: criticality
        )
    }

    /// What an event may have and a call may not.
    private static func foreign(to event: UsageEvent) -> [FieldFault] {
        var faults: [FieldFault] = []
        if event.time != nil {
            let detail = "an admission is decided for the present; leave \"time\" out"
            faults.append(FieldFault(pointer: "/time", code: "not_applicable", detail: detail))
        }
        for name in event.extensionNames {
            let detail = "\"\(name)\" is not a field of an admission"
            faults.append(FieldFault(pointer: "/" + name, code: "unknown_field", detail: detail))
        }
        return faults
    }
}

extension UsageEvent {
    fileprivate var extensionNames: [String] {
        guard let extensions, case .object(let members) = try? JSONValue(stored: extensions) else { return [] }
        return members.map(\.name)
    }
}
