import BillingCore
import Web

/// An event of the raw log as it is answered: the normalised CloudEvent, and what the service adds.
struct EventBody: Sendable {
    private let stored: StoredEvent
    private let tenant: String

    init(_ stored: StoredEvent, tenant: String) {
        self.stored = stored
        self.tenant = tenant
    }
}

extension EventBody: Encodable {
    private enum CodingKeys: CodingKey {
        case tenant, ledgerSeq, receivedAt, reversal, event
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(tenant, forKey: .tenant)
        try container.encode(stored.ledgerSequence, forKey: .ledgerSeq)
        try container.encode(stored.receivedAt, forKey: .receivedAt)
        try container.encode(stored.reversalOf != nil, forKey: .reversal)
        try container.encode(JSONValue(parsing: stored.event.json), forKey: .event)
    }
}
