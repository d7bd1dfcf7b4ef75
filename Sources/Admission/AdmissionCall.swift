import BillingCore
import Catalog
import Limits
import Usage
import Web

/// A call that asks whether it may be made: described like the usage event that will report it, with estimated values.
struct AdmissionCall: Sendable {
    static let longestSeconds = 86_400
    /// What a call has beside the fields of its event.
    static let ownNames: [StaticString] = ["ttl_seconds", "dry_run", "min_output_tokens", "criticality"]

    /// What is kept of a call beside its own members. No request can say it.
    private static let believingName: StaticString = "believes_cost"

    let event: UsageEvent
    /// What it was read from, as it is kept while its reservation is open.
    let text: String
    /// How long the reservation can be settled as admitted; nil for the service's default.
    let seconds: Int?
    /// Decides and holds nothing.
    let isDryRun: Bool
    /// Where the call as a whole exceeds a limit, it may use fewer output tokens, down to so many.
    let minimumOutputTokens: Int64?
    /// As the caller says.
    let claimedCriticality: Criticality
    /// Whether a credential asks that is bound to a tenant.
    let isOfTenant: Bool
    /// Whether the provider cost that it says counts where its source is trusted: not of who is bound to a tenant.
    let believesCost: Bool

    fileprivate static func decoder(
        maximumCalls: Int,
        _ attribution: Attribution,
        isKept: Bool = false
    ) -> EventDecoder {
        EventDecoder(
            maximumEvents: maximumCalls,
            attribution: attribution,
            foreignNames: ownNames + (isKept ? [believingName] : []),
            takesExtensions: false
        )
    }

    /// How important it is among the calls that a limit bounds: a tenant can't put its own before other tenants'.
    func criticality(within limit: Limit) -> Criticality {
        isOfTenant && limit.isOperatorWide && claimedCriticality == .critical ? .default : claimedCriticality
    }

    /// What is wrong with the least number of output tokens beside the number that is asked for.
    fileprivate var tokenFaults: [FieldFault] {
        guard let minimum = minimumOutputTokens else { return [] }
        let asked = event.usage.outputTokens
        guard asked.map({ minimum > $0 }) ?? true else { return [] }
        let detail =
            "\"min_output_tokens\" must be at most the \"output_tokens\" of \"data\", which "
            + (asked.map { "are \($0)" } ?? "are missing")
        return [FieldFault(pointer: "/min_output_tokens", code: "out_of_range", detail: detail)]
    }
}

extension AdmissionCall {
    /// What was asked when a call was admitted that is still open; nil where it can't be read any more.
    init?(_ reserved: ReservedCall) {
        let decoder = Self.decoder(maximumCalls: 1, reserved.attribution, isKept: true)
        let batch = decoder.decode(Array(reserved.text.utf8), as: .plain)
        guard let event = batch.events.first else { return nil }
        let own = batch.foreign[0].flatMap { try? JSONValue(parsing: $0) }
        self.event = event
        text = reserved.text
        seconds = nil
        isDryRun = false
        minimumOutputTokens = nil
        claimedCriticality = .default
        isOfTenant = false
        believesCost = own?[Self.believingName.description] == .bool(true)
    }

    /// The text with a mark that its cost is believed.
    fileprivate static func believing(_ text: String) -> String {
        text.replacing("{", with: "{\"\(believingName)\":true,", maxReplacements: 1)
    }
}

/// What `POST /admissions` asks: one call, or several that are decided one by one.
struct AdmissionInput: Sendable {
    static let maximumCalls = 100

    private(set) var calls: [AdmissionCall] = []
    let isArray: Bool

    /// Reads what is the admission's own, and the rest like an event.
    /// - Throws: `Problem` for malformed JSON, and `ValidationFailure` with every fault of every call.
    init(_ body: UnsafeRawBufferPointer, by principal: Principal) throws {
        let decoder = AdmissionCall.decoder(maximumCalls: Self.maximumCalls, principal.attribution)
        let batch = decoder.decode(body, as: .plain)
        isArray = batch.isArray
        if let fault = batch.bodyFault, fault.code == EventFault.malformedCode {
            throw Problem.malformedJSON(detail: fault.detail, pointer: fault.pointer)
        }
        guard batch.bodyFault == nil, batch.count > 0 else {
            let detail = "the body must be one call, or an array of 1 to \(Self.maximumCalls) calls"
            throw ValidationFailure([FieldFault(pointer: "", code: "invalid_length", detail: detail)])
        }
        var faults = batch.faults.map(\.told)
        var own: [Int: OwnFields] = [:]
        for (index, members) in batch.foreign.sorted(by: { $0.key < $1.key }) {
            let fields = JSONObjectReader(try JSONValue(parsing: members, maximumBytes: .max))
            own[index] = OwnFields(fields)
            faults += fields.faults.map { $0.within(batch, index) }
        }
        for (position, event) in batch.events.enumerated() {
            let index = batch.indexes[position]
            let text = try Self.text(UnsafeRawBufferPointer(rebasing: body[batch.ranges[position]]))
            let call = AdmissionCall(event, text, own[index] ?? OwnFields(), isOfTenant: !principal.isOperatorWide)
            let remarks = call.tokenFaults + (event.time == nil ? [] : [Self.noTime])
            faults += remarks.map { $0.within(batch, index) }
            calls.append(call)
        }
        guard faults.isEmpty else { throw ValidationFailure(faults) }
    }

    /// What is kept of a call as it was written, of a long one without white space.
    private static func text(_ call: UnsafeRawBufferPointer) throws -> String {
        guard call.count > longText else { return String(decoding: call, as: UTF8.self) }
        return String(decoding: try JSONValue(parsing: Array(call), maximumBytes: .max).bytes, as: UTF8.self)
    }

    private static let longText = 2_048

    private static let noTime = FieldFault(
        pointer: "/time",
        code: "not_applicable",
        detail: "an admission is decided for the present; leave \"time\" out"
    )
}

/// What a call says beside its event.
private struct OwnFields {
    var seconds: Int?
    var isDryRun = false
    var minimumOutputTokens: Int64?
    var criticality = Criticality.default

    init() {}

    init(_ fields: JSONObjectReader) {
        seconds = fields.optionalInteger("ttl_seconds", in: 1...AdmissionCall.longestSeconds)
        minimumOutputTokens = fields.optionalInteger("min_output_tokens", in: 1...Int64.max)
        isDryRun = fields.bool("dry_run", default: false)
        criticality = fields.choice("criticality", default: .default)
    }
}

extension AdmissionCall {
    fileprivate init(_ event: UsageEvent, _ text: String, _ own: OwnFields, isOfTenant: Bool) {
        let believesCost = !isOfTenant && event.usage.cost != nil
        self.init(
            event: event,
            text: believesCost ? Self.believing(text) : text,
            seconds: own.seconds,
            isDryRun: own.isDryRun,
            minimumOutputTokens: own.minimumOutputTokens,
            claimedCriticality: own.criticality,
            isOfTenant: isOfTenant,
            believesCost: believesCost
        )
    }
}

extension FieldFault {
    /// With its pointer into the body.
    fileprivate func within(_ batch: DecodedBatch, _ index: Int) -> FieldFault {
        FieldFault(pointer: batch.pointer(pointer, inEvent: index), code: code, detail: detail)
    }
}
