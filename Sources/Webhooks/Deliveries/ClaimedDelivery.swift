import BillingCore
import Postgres

/// A delivery that this process may try now. Until its lease ends nobody else has it.
struct ClaimedDelivery: Sendable {
    /// What the attempt takes. It is read for each claim by itself, so that one that can't be read stops no other.
    struct Content: Sendable {
        let target: Target
        let event: Event
    }

    /// The endpoint as it is tried. It may be changed or made anew meanwhile.
    struct Target: Sendable {
        /// When the endpoint was made: tells it from one that was made anew under its key.
        let createdAt: Instant
        let kind: WebhookEndpoint.Kind
        let url: String
        /// The URL that `url` shows a part of.
        let sealedURL: [UInt8]?
        let signing: WebhookSigning?
        let sealedSecret: [UInt8]?
        /// The one before it, while it signs too.
        let previousSealedSecret: [UInt8]?
    }

    struct Event: Sendable {
        let id: UUIDv7
        let type: String
        let occurredAt: Instant
        /// As it was written.
        let data: String
    }

    let id: WebhookDeliveryID
    let endpoint: WebhookEndpointID
    /// Which attempt this is. It also tells this claim from one that took over after it.
    let attempt: Int32
    let leasedUntil: Instant
    /// How many have failed since the delivery began or was asked for again.
    let failures: Int32
    /// Whose event it is.
    let eventTenant: TenantID
}

/// What came of an attempt.
struct AttemptResult: Sendable {
    enum Outcome: String, CaseIterable, Sendable {
        case succeeded, failed
    }

    static let excerptBytes = 1_024

    let outcome: Outcome
    var statusCode: Int32?
    /// The beginning of the answer, as text.
    var excerpt: String?
    /// Why there was no answer.
    var error: String?
    /// Whether this process could not even try, for which the endpoint can't be blamed.
    var isLocal = false
    /// Whether that is so because the resolver has no answer. In the long run the name's own servers are at fault.
    var isOfResolver = false

    /// An answer is a success if its status says so (RFC 9110, section 15.3).
    init(status: Int, excerpt: [UInt8]) {
        outcome = (200..<300).contains(status) ? .succeeded : .failed
        statusCode = Int32(clamping: status)
        self.excerpt = Self.text(excerpt)
    }

    init(error: String, isLocal: Bool = false) {
        outcome = .failed
        self.error = Self.text(Array(error.utf8))
        self.isLocal = isLocal
    }

    /// A program has taken the message over.
    static let accepted = AttemptResult(outcome: .succeeded)

    private init(outcome: Outcome) {
        self.outcome = outcome
    }

    /// The receiver says that it is gone for good (RFC 9110, section 15.5.11).
    var isGone: Bool { statusCode == 410 }

    /// Without the one character that PostgreSQL does not store.
    private static func text(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.filter { $0 != 0 }.prefix(excerptBytes), as: UTF8.self)
    }
}
