internal import BillingCore
package import Web

/// Decodes a request of usage events in one pass over its bytes.
///
/// Malformed JSON, or more events than are accepted, is one fault for the whole body and leaves no events. Anything
/// else that is wrong is a fault of its event, and the decoder goes on to the next. Pure: it knows no clock and no
/// tenants.
package struct EventDecoder: Sendable {
    package var maximumEvents: Int
    /// Whom the events are attributed to.
    package var attribution: Attribution
    /// Names of members that are no part of the event but somebody else's beside it.
    package var foreignNames: [StaticString]
    /// Whether an event may have attributes of any name, CloudEvents extensions.
    package var takesExtensions: Bool

    package init(
        maximumEvents: Int = 10_000,
        attribution: Attribution = .none,
        foreignNames: [StaticString] = [],
        takesExtensions: Bool = true
    ) {
        self.maximumEvents = maximumEvents
        self.attribution = attribution
        self.foreignNames = foreignNames
        self.takesExtensions = takesExtensions
    }

    /// Decodes one event or an array of events, as the format allows.
    package func decode(_ body: UnsafeRawBufferPointer, as format: EventFormat) -> DecodedBatch {
        var parser = EventParser(body, requiresSpecVersion: format != .plain, attribution: attribution)
        parser.foreignNames = foreignNames
        parser.takesExtensions = takesExtensions
        do throws(JSONFault) {
            let kind = try parser.scanner.peek()
            switch (kind, format) {
            case (.array, .batch), (.array, .plain):
                guard try parser.parseArray(maximumEvents: maximumEvents) else {
                    return Self.failed(tooManyEvents)
                }
            case (_, .batch):
                return Self.failed("not_an_array", "a batch of events must be a JSON array")
            case (.object, _):
                try parser.parseSingle()
            case (_, .structured):
                return Self.failed("not_an_object", "an event must be a JSON object; batches have their own media type")
            case (_, .plain):
                return Self.failed("not_an_object", "the body must be an event, a JSON object, or an array of events")
            }
            try parser.scanner.finish()
        } catch {
            return Self.failed(Self.malformed(error.located(in: body)))
        }
        return parser.batch
    }

    package func decode(_ body: [UInt8], as format: EventFormat) -> DecodedBatch {
        body.withUnsafeBytes { decode($0, as: format) }
    }

    static func failed(_ fault: EventFault) -> DecodedBatch {
        var batch = DecodedBatch()
        batch.faults = [fault]
        return batch
    }

    static func failed(_ code: String, _ detail: String) -> DecodedBatch {
        failed(EventFault(index: nil, pointer: "", code: code, detail: detail))
    }

    static func malformed(_ fault: JSONFault) -> EventFault {
        EventFault(
            index: nil,
            pointer: fault.pointer,
            code: EventFault.malformedCode,
            detail: "the body is not acceptable JSON: \(fault.detail) at byte \(fault.offset)"
        )
    }

    private var tooManyEvents: EventFault {
        EventFault(
            index: nil,
            pointer: "",
            code: "too_many_events",
            detail: "a request may hold at most \(maximumEvents) events; send the rest in another"
        )
    }
}

/// The bounds of an event's parts, in bytes of UTF-8.
enum EventLimits {
    /// `id`, `source`, `type`, `subject`.
    static let identity = 512
    /// Every other attribute and LLM text.
    static let text = 256
    /// What remains of `data`, and the extensions, as raw JSON.
    static let raw = 64 * 1024
    /// Faults told of one event.
    static let faults = 20
    /// From so many faults on, each further event tells its first only.
    static let batchFaults = 1_000
}
