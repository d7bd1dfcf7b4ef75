import Catalog
internal import BillingCore
internal import Web

extension EventParser {
    mutating func parseData() throws(JSONFault) {
        let kind = try scanner.peek()
        switch kind {
        case .null:
            try scanner.scanLiteral(kind)
        case .object:
            var counts = LLMReadCounts()
            draft.dataHash = try parseObject(.data, &counts)
            draft.counts = counts
        default:
            let start = scanner.position
            try scanner.skipValue()
            reject(at: start, "invalid_data", "\"data\" must be a JSON object, such as {\"input_tokens\": 1200}")
        }
    }

    /// Reads `data` or one of the objects in it that hold LLM fields. What is not recognised is appended to the
    /// remainder, and its hash returned. Recognised members that are null count as absent.
    private mutating func parseObject(
        _ place: LLMName.Place,
        _ counts: inout LLMReadCounts
    ) throws(JSONFault) -> JSONMembersHash {
        var remaining = JSONMembersHash()
        var progress = try scanner.beginObject()
        while let key = try scanner.nextKey(&progress) {
            guard let name = scanner.withUTF8(key.text, { LLMName($0, in: place) }) else {
                try keep(key, &remaining)
                continue
            }
            let kind = try scanner.peek()
            if kind == .null {
                try scanner.scanLiteral(kind)
                continue
            }
            switch name {
            case .usage, .inputDetails, .outputDetails:
                try parseContainer(name, key, kind, &counts, &remaining)
            case .provider, .model, .user, .feature, .costCenter, .requestID, .earlierProvider, .requestedModel:
                try parseLabel(name, key, kind)
            case .cost:
                try parseCost(kind)
            case .inputTokens: try parseCount(kind, &counts.input)
            case .totalInputTokens: try parseCount(kind, &counts.totalInput)
            case .cachedInputTokens: try parseCount(kind, &counts.cached)
            case .cacheReadBeside: try parseCount(kind, &counts.cacheReadBeside)
            case .cacheWriteTokens: try parseCount(kind, &counts.cacheWrite)
            case .cacheCreationBeside: try parseCount(kind, &counts.cacheCreationBeside)
            case .outputTokens: try parseCount(kind, &counts.output)
            case .reasoningTokens: try parseCount(kind, &counts.reasoning)
            }
        }
        return remaining
    }

    private static let reservationID = hash("reservationid")
    private static let likeReservationID = ["reservation_id", "reservationId", "reservationID"].map(hash)

    private mutating func keep(_ key: JSONKey, _ remaining: inout JSONMembersHash) throws(JSONFault) {
        scanner.skipWhitespace()
        let start = scanner.position
        remaining.add(key: key.hash, value: try scanner.skipValue())
        let value = start..<scanner.position
        scanner.copyMember(key, value: value, to: &remainder)
        if key.hash == Self.reservationID || Self.likeReservationID.contains(key.hash) && isIdentifier(value) {
            draft.misplacesReservation = true
        }
    }

    /// Whether a value is the text of an id as the service makes them: others may well have reservations of their own.
    private func isIdentifier(_ value: Range<Int>) -> Bool {
        let text = UnsafeRawBufferPointer(rebasing: scanner.bytes[value]).dropFirst().dropLast()
        return text.count == 36 && UUIDv7(String(decoding: text, as: UTF8.self)) != nil
    }

    /// A nested object stays in the remainder with those of its members that are not recognised.
    private mutating func parseContainer(
        _ name: LLMName,
        _ key: JSONKey,
        _ kind: JSONKind,
        _ counts: inout LLMReadCounts,
        _ remaining: inout JSONMembersHash
    ) throws(JSONFault) {
        guard kind == .object else { return try keep(key, &remaining) }
        let mark = remainder.count
        scanner.copyName(key, to: &remainder)
        let opening = remainder.count
        let inner: JSONMembersHash
        switch name {
        case .usage:
            var usageCounts = LLMReadCounts()
            inner = try parseObject(.usage, &usageCounts)
            draft.usageCounts = usageCounts
        case .inputDetails: inner = try parseObject(.inputDetails, &counts)
        default: inner = try parseObject(.outputDetails, &counts)
        }
        guard inner.count > 0 else {
            remainder.removeLast(remainder.count - mark)
            return
        }
        remainder[opening] = UInt8(ascii: "{")
        remainder.append(UInt8(ascii: "}"))
        remaining.add(key: key.hash, value: inner.value)
    }

    // MARK: Counts and cost

    private mutating func parseCount(_ kind: JSONKind, _ count: inout LLMCount) throws(JSONFault) {
        let start = scanner.position
        let value: Int64?
        switch kind {
        case .number:
            value = try scanner.scanNumber().integer
        case .string:
            let text = try scanner.scanString()
            value = scanner.withUTF8(text) { bytes in JSONNumber(whole: bytes)?.integer }
        default:
            try scanner.skipValue()
            value = nil
        }
        guard let value, value >= 0, value <= LLMTotals.maximum else {
            let detail = "a token count must be an integer from 0 to 10^15"
            return reject(at: start, "invalid_token_count", detail)
        }
        if count.isStated, count.value != value {
            return rejectConflict(at: start, "\(count.value)", "\(value)")
        }
        count = LLMCount(value: value, offset: start)
    }

    private mutating func rejectConflict(at offset: Int, _ one: String, _ other: String) {
        let detail = "the same fact is given under two names with different values: \(one) and \(other); send it once"
        reject(at: offset, "conflicting_values", detail)
    }

    private mutating func parseCost(_ kind: JSONKind) throws(JSONFault) {
        let start = scanner.position
        let cost: FixedDecimal?
        switch kind {
        case .number:
            let number = try scanner.scanNumber()
            let text = UnsafeRawBufferPointer(rebasing: scanner.bytes[number.start..<number.end])
            cost = try? FixedDecimal(parsing: text)
        case .string:
            let text = try scanner.scanString()
            cost = scanner.withUTF8(text) { bytes in
                JSONNumber(whole: bytes) == nil ? nil : try? FixedDecimal(parsing: bytes)
            }
        default:
            try scanner.skipValue()
            cost = nil
        }
        guard let cost, !cost.isNegative else {
            let detail = "\"cost\" must be a decimal string such as \"0.0125\", or a number, from 0 to below 10^26"
            return reject(at: start, "invalid_cost", detail)
        }
        draft.cost = cost
    }

    // MARK: Labels

    private mutating func parseLabel(_ name: LLMName, _ key: JSONKey, _ kind: JSONKind) throws(JSONFault) {
        let start = scanner.position
        guard kind == .string else {
            try scanner.skipValue()
            return reject(at: start, "invalid_type", "\"\(scanner.string(key.text))\" must be a string")
        }
        let text = try scanner.scanString()
        guard !text.isEmpty else { return }
        guard !byteCount(text, exceeds: EventLimits.text) else {
            let detail = "\"\(scanner.string(key.text))\" must have at most \(EventLimits.text) bytes"
            return reject(at: start, "too_long", detail)
        }
        switch name {
        case .provider: draft.provider = same(draft.provider, text)
        case .model: draft.model = same(draft.model, text)
        case .user: draft.user = text
        case .feature: draft.feature = text
        case .costCenter: draft.costCenter = text
        case .requestID: draft.requestID = text
        case .earlierProvider: draft.earlierProvider = LLMStandIn(key: key, value: text)
        default: draft.requestedModel = LLMStandIn(key: key, value: text)
        }
    }

    /// The text of a label that has two names, which must agree.
    private mutating func same(_ known: JSONText?, _ text: JSONText) -> JSONText {
        guard let known else { return text }
        if !scanner.equal(known, text) {
            rejectConflict(at: text.start, "\"\(scanner.string(known))\"", "\"\(scanner.string(text))\"")
        }
        return known
    }
}
