import BillingCore
import Web

/// An event of the raw log as it is answered: normalised, with what the service adds.
struct EventBody: Encodable, Sendable {
    let tenant: String
    let source: String
    let id: String
    let type: String
    let subject: String
    let time: Instant
    let receivedAt: Instant
    let ledgerSeq: Int64
    /// The id of the event that this one takes back.
    let reversalOf: String?
    /// The credential that it came by; null for what was stored before that was kept.
    let clientID: String?
    /// What the feature that was asked for measured; null where none was.
    let quantity: FixedDecimal?
    /// What the provider charges, with its currency; null where that is not known, and for tenants.
    let providerCost: FixedDecimal?
    let providerCostCurrency: String?
    /// Without its `cost` for tenants: a gateway reports there what the provider charges.
    let data: JSONValue
    let extensions: JSONValue

    init(
        _ stored: StoredEvent,
        tenant: String,
        quantity: FixedDecimal? = nil,
        showsCosts: Bool
    ) throws(JSONFault) {
        self.tenant = tenant
        source = stored.event.source
        id = stored.event.id
        type = stored.event.type
        subject = stored.event.subject
        time = stored.time
        receivedAt = stored.receivedAt
        ledgerSeq = stored.ledgerSequence
        reversalOf = stored.reversalOf == nil ? nil : stored.event.id
        clientID = stored.event.attribution.clientID
        self.quantity = quantity
        providerCost = stored.cost?.amount
        providerCostCurrency = stored.cost?.currency?.code
        let data = try JSONValue(stored: stored.event.dataJSON)
        if case .object(let members) = data, !showsCosts {
            self.data = .object(members.filter { $0.name != "cost" })
        } else {
            self.data = data
        }
        extensions = try JSONValue(stored: stored.event.extensions ?? "{}")
    }
}
