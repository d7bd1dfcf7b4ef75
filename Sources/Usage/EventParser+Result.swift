import Catalog
internal import BillingCore
internal import Web

extension EventParser {
    /// Reconciles what was read; nil when it contradicts itself, with the faults recorded.
    mutating func resolveUsage() -> LLMTotals? {
        var faults: [LLMCountFault] = []
        var totals = draft.counts.resolved(&faults)
        if let usage = draft.usageCounts {
            totals = totals.joined(with: usage.resolved(&faults), &faults)
        }
        if faults.isEmpty, let fault = totals.fault {
            faults.append(fault)
        }
        for fault in faults {
            reject(at: fault.offset, fault.code, fault.detail)
        }
        draft.provider = standIn(draft.earlierProvider, for: draft.provider)
        draft.model = standIn(draft.requestedModel, for: draft.model)
        return faults.isEmpty ? totals : nil
    }

    /// The label, or what stands in for it; a stand-in that differs remains in `data`.
    private mutating func standIn(_ other: LLMStandIn?, for label: JSONText?) -> JSONText? {
        guard let other else { return label }
        guard let label else { return other.value }
        if !scanner.equal(label, other.value) {
            let value = JSONHash.mix(scanner.hash(of: other.value), JSONHashTag.string)
            draft.dataHash.add(key: other.key.hash, value: value)
            scanner.copyMember(other.key, value: (other.value.start - 1)..<(other.value.end + 1), to: &remainder)
        }
        return label
    }

    mutating func checkSizes() {
        if remainder.count + 1 > EventLimits.raw {
            let detail = "what \"data\" holds besides LLM fields must be at most \(EventLimits.raw) bytes of JSON"
            reject(attribute: "data", "data_too_large", detail)
        }
        if extensions.count + 1 > EventLimits.raw {
            let detail = "the extension attributes must be at most \(EventLimits.raw) bytes of JSON"
            reject(attribute: nil, "extensions_too_large", detail)
        }
    }

    mutating func makeEvent(_ totals: LLMTotals) -> UsageEvent {
        var usage = LLMUsage()
        usage.provider = string(draft.provider)
        usage.model = string(draft.model)
        usage.user = string(draft.user)
        usage.feature = string(draft.feature)
        usage.costCenter = string(draft.costCenter)
        usage.requestID = string(draft.requestID)
        usage.inputTokens = totals.input.optional
        usage.cachedInputTokens = totals.cached.optional
        usage.cacheWriteTokens = totals.cacheWrite.optional
        usage.outputTokens = totals.output.optional
        usage.reasoningTokens = totals.reasoning.optional
        usage.cost = draft.cost
        return UsageEvent(
            source: string(draft.source) ?? "",
            id: string(draft.id) ?? "",
            type: string(draft.type) ?? "",
            subject: string(draft.subject) ?? "",
            time: draft.time,
            reservationID: draft.reservationID,
            reservationPartial: draft.reservationPartial,
            misplacesReservation: draft.misplacesReservation,
            usage: usage,
            attribution: attribution,
            data: Self.object(remainder),
            extensions: Self.object(extensions),
            key: key(),
            contentHash: contentHash(totals)
        )
    }

    private func string(_ text: JSONText?) -> String? {
        text.map { scanner.string($0) }
    }

    /// The members, each preceded by a comma, as the text of an object; nil when there are none.
    static func object(_ members: [UInt8]) -> String? {
        guard !members.isEmpty else { return nil }
        return String(unsafeUninitializedCapacity: members.count + 1) { buffer in
            _ = buffer.initialize(from: members)
            buffer[0] = UInt8(ascii: "{")
            buffer[members.count] = UInt8(ascii: "}")
            return members.count + 1
        }
    }

    private mutating func key() -> EventKey {
        keyBytes.removeAll(keepingCapacity: true)
        for text in [draft.source, draft.id] {
            guard let text else { continue }
            EventKey.append(length: scanner.byteCount(text), to: &keyBytes)
            scanner.withUTF8(text) { keyBytes.append(contentsOf: $0) }
        }
        return keyBytes.withUnsafeBytes { EventKey(hashing: $0) }
    }

    private func contentHash(_ totals: LLMTotals) -> Int64 {
        func hash(_ text: JSONText?) -> UInt64? { text.map { scanner.hash(of: $0) } }
        var content = EventContentHash()
        content.add(hash(draft.type))
        content.add(hash(draft.subject))
        content.add(draft.time?.microseconds)
        content.add(hash(draft.provider))
        content.add(hash(draft.model))
        content.add(totals.input.optional)
        content.add(totals.cached.optional)
        content.add(totals.cacheWrite.optional)
        content.add(totals.output.optional)
        content.add(totals.reasoning.optional)
        content.add(hash(draft.user))
        content.add(hash(draft.feature))
        content.add(hash(draft.costCenter))
        content.add(hash(draft.requestID))
        content.add(draft.cost)
        content.add(draft.dataHash)
        content.add(draft.extensionsHash)
        return content.value
    }
}
