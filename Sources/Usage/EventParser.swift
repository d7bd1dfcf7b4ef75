import Catalog
internal import BillingCore
internal import Web

/// The state of one request being decoded. One event is drafted at a time; its buffers are reused.
struct EventParser {
    var scanner: JSONScanner
    let requiresSpecVersion: Bool
    let attribution: Attribution
    var foreignNames: [StaticString] = []
    var takesExtensions = true
    private(set) var batch = DecodedBatch()
    var draft = EventDraft()
    /// The text of what remains of `data`, without its braces, each member preceded by a comma.
    var remainder: [UInt8] = []
    /// The same of the extensions.
    var extensions: [UInt8] = []
    /// The same of members that are somebody else's.
    var foreign: [UInt8] = []
    var keyBytes: [UInt8] = []
    private var eventStart = 0
    private var eventFaults = 0

    init(_ body: UnsafeRawBufferPointer, requiresSpecVersion: Bool, attribution: Attribution = .none) {
        scanner = JSONScanner(body)
        self.attribution = attribution
        self.requiresSpecVersion = requiresSpecVersion
    }

    /// Reads an array of events; false when there are too many.
    mutating func parseArray(maximumEvents: Int) throws(JSONFault) -> Bool {
        batch.isArray = true
        batch.events.reserveCapacity(min(maximumEvents, scanner.bytes.count / 256))
        var progress = try scanner.beginArray()
        while try scanner.nextElement(&progress) {
            guard batch.count < maximumEvents else { return false }
            try parseSingle()
        }
        return true
    }

    /// Reads the event at the scanner's position and adds it, or its faults, to the batch.
    mutating func parseSingle() throws(JSONFault) {
        eventStart = scanner.position
        eventFaults = 0
        draft = EventDraft()
        remainder.removeAll(keepingCapacity: true)
        extensions.removeAll(keepingCapacity: true)
        foreign.removeAll(keepingCapacity: true)
        let firstFault = batch.faults.count
        if try scanner.peek() == .object {
            try parseMembers()
            checkRequired()
            let usage = resolveUsage()
            checkSizes()
            if eventFaults == 0, let usage {
                batch.events.append(makeEvent(usage))
                batch.indexes.append(batch.count)
                batch.ranges.append(eventStart..<scanner.position)
            }
        } else {
            reject(at: scanner.position, "not_an_object", "an event must be a JSON object")
            try scanner.skipValue()
        }
        if eventFaults > 0 {
            let id = draft.id.map { scanner.string($0) }
            for index in firstFault..<batch.faults.count {
                batch.faults[index].id = id
            }
        }
        if let members = Self.object(foreign) { batch.foreign[batch.count] = members }
        batch.count += 1
    }

    // MARK: Faults

    /// Records a fault of the value that lies at the byte offset.
    mutating func reject(at offset: Int, _ code: String, _ detail: String) {
        guard tellsMore else { return eventFaults += 1 }
        let event = UnsafeRawBufferPointer(rebasing: scanner.bytes[eventStart...])
        add(pointer: JSONPointer.locating(offset - eventStart, in: event), code, detail)
    }

    /// Records a fault of an attribute, which may be absent, by its name; nil is the event itself.
    mutating func reject(attribute name: String?, _ code: String, _ detail: String) {
        add(pointer: name.map { JSONPointer.appending($0, to: "") } ?? "", code, detail)
    }

    /// Whether another fault of this event is still told; its first always is.
    var tellsMore: Bool {
        eventFaults == 0 || eventFaults < EventLimits.faults && batch.faults.count < EventLimits.batchFaults
    }

    private mutating func add(pointer: String, _ code: String, _ detail: String) {
        guard tellsMore else { return eventFaults += 1 }
        eventFaults += 1
        batch.faults.append(
            EventFault(
                index: batch.count,
                pointer: batch.pointer(pointer, inEvent: batch.count),
                code: code,
                detail: detail
            )
        )
    }
}

/// What has been read of an event: tokens into the request, no copies yet.
struct EventDraft {
    var id: JSONText?
    var source: JSONText?
    var type: JSONText?
    var subject: JSONText?
    var time: Instant?
    var reservationID: UUIDv7?
    var reservationPartial = false
    var misplacesReservation = false
    var hasSpecVersion = false
    /// Attributes that are there but faulty, so that they are not reported as missing too.
    var faulty: EventIdentity = []
    var provider: JSONText?
    var model: JSONText?
    var user: JSONText?
    var feature: JSONText?
    var costCenter: JSONText?
    var requestID: JSONText?
    var earlierProvider: LLMStandIn?
    var requestedModel: LLMStandIn?
    var cost: FixedDecimal?
    var counts = LLMReadCounts()
    var usageCounts: LLMReadCounts?
    var dataHash = JSONMembersHash()
    var extensionsHash = JSONMembersHash()
}

/// A member of `data` that is used only where a better name is absent, and otherwise remains in `data`.
struct LLMStandIn {
    let key: JSONKey
    let value: JSONText
}

struct EventIdentity: OptionSet {
    let rawValue: UInt8
    static let id = EventIdentity(rawValue: 1)
    static let source = EventIdentity(rawValue: 2)
    static let type = EventIdentity(rawValue: 4)
    static let subject = EventIdentity(rawValue: 8)
    static let specVersion = EventIdentity(rawValue: 16)
}
