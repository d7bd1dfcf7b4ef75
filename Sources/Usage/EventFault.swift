/// One thing that is wrong with a request of events.
package struct EventFault: Sendable, Hashable, Error {
    /// The code of a body that is no JSON.
    package static let malformedCode = "malformed_json"

    /// The position of the event in the request; nil when the fault is the whole body's.
    package var index: Int?
    /// The event's id, where it could be read.
    package var id: String?
    /// RFC 6901 pointer into the body. In binary mode it points into the event that the headers and body make.
    package var pointer: String
    /// Stable, for programs.
    package var code: String
    /// For people.
    package var detail: String

    package init(index: Int?, id: String? = nil, pointer: String, code: String, detail: String) {
        self.index = index
        self.id = id
        self.pointer = pointer
        self.code = code
        self.detail = detail
    }
}

/// What a request of events holds: the acceptable ones, and what is wrong with the others.
package struct DecodedBatch: Sendable {
    package var events: [UsageEvent] = []
    /// The position in the request of each of `events`.
    package var indexes: [Int] = []
    /// Where in the body each of `events` stands; not in binary mode.
    package var ranges: [Range<Int>] = []
    package var faults: [EventFault] = []
    /// How many events the request holds, good and bad.
    package var count = 0

    /// Per position in the request: the members that belong to somebody else, as the text of a JSON object.
    package var foreign: [Int: String] = [:]

    /// Whether the body is an array, so that pointers begin with the event's position.
    package var isArray = false

    package init() {}

    /// The pointer into the body of a place in one of its events.
    package func pointer(_ pointer: String, inEvent index: Int) -> String {
        isArray ? "/\(index)\(pointer)" : pointer
    }

    /// A fault that leaves nothing of the request: malformed JSON, or too many events.
    package var bodyFault: EventFault? {
        faults.first { $0.index == nil }
    }
}

/// How the events are written in a request.
package enum EventFormat: Sendable {
    /// `application/cloudevents+json`: one event.
    case structured
    /// `application/cloudevents-batch+json`: an array.
    case batch
    /// `application/json`: one event or an array; `specversion` may be left out.
    case plain

    /// Nil for a media type that is none of the three. Parameters do not matter.
    package init?(contentType: String) {
        let mediaType = contentType.prefix { $0 != ";" && $0 != " " && $0 != "\t" }.lowercased()
        switch mediaType {
        case "application/cloudevents+json": self = .structured
        case "application/cloudevents-batch+json": self = .batch
        case "application/json": self = .plain
        default: return nil
        }
    }
}
