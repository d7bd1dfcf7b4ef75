package import BillingCore
package import Web

/// One usage event, normalised: the CloudEvents attributes, the LLM fields under their own names whichever alias they
/// came by, and everything else that was sent as raw JSON. Made by `EventDecoder`, or from the columns of the raw log.
///
/// A class, because an event passes through several hands on its way to its row, and a dozen strings would be retained
/// at each.
package final class UsageEvent: Sendable {
    package let source: String
    package let id: String
    package let type: String
    package let subject: String
    /// As the sender gave it; nil means the time of receipt.
    package let time: Instant?
    /// The reservation that this event settles: the CloudEvents extension `reservationid`.
    package let reservationID: UUIDv7?
    /// Whether more events will settle the same reservation: the extension `reservationpartial`.
    package let reservationPartial: Bool
    /// Whether `data` has a member `reservationid`, or one of nearly that name with an id, where it settles nothing.
    package let misplacesReservation: Bool
    /// As the sender said it.
    package let usage: LLMUsage
    /// Whom the credential attributes it to, which the content hash does not cover.
    package let attribution: Attribution
    /// The members of `data` that are no LLM fields, as the text of a JSON object; nil when there are none.
    package let data: String?
    /// The CloudEvents extension attributes and `dataschema`, as the text of a JSON object; nil when there are none.
    package let extensions: String?
    package let key: EventKey
    /// See `EventContentHash`.
    package let contentHash: Int64

    package init(
        source: String,
        id: String,
        type: String,
        subject: String,
        time: Instant? = nil,
        reservationID: UUIDv7? = nil,
        reservationPartial: Bool = false,
        misplacesReservation: Bool = false,
        usage: LLMUsage = LLMUsage(),
        attribution: Attribution = .none,
        data: String? = nil,
        extensions: String? = nil,
        key: EventKey,
        contentHash: Int64
    ) {
        self.source = source
        self.id = id
        self.type = type
        self.subject = subject
        self.time = time
        self.reservationID = reservationID
        self.reservationPartial = reservationPartial
        self.misplacesReservation = misplacesReservation
        self.usage = usage
        self.attribution = attribution
        self.data = data
        self.extensions = extensions
        self.key = key
        self.contentHash = contentHash
    }

    /// The credential's, or the one that the sender named.
    package var costCenter: String? { attribution.costCenter ?? usage.costCenter }

    /// The same with another usage, or under another key. It settles nothing.
    func with(usage: LLMUsage? = nil, key: EventKey? = nil) -> UsageEvent {
        UsageEvent(
            source: source,
            id: id,
            type: type,
            subject: subject,
            time: time,
            usage: usage ?? self.usage,
            attribution: attribution,
            data: data,
            extensions: extensions,
            key: key ?? self.key,
            contentHash: contentHash
        )
    }

    /// The key while the subject names nobody; it covers the subject too.
    package var unmatchedKey: EventKey {
        EventKey(source: source, id: id, subject: subject)
    }
}
