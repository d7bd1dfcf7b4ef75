import BillingCore
import Web

/// The body of a new tenant.
struct TenantInput: Sendable {
    let key: String
    let name: String
    let currency: Currency
    let zone: Zone
    let subjects: [String]
    let costCenter: String?
    let billingEmail: String?
    let metadata: String
    let billing: TenantBilling

    static let maximumSubjectCount = 100

    static func read(_ fields: JSONObjectReader) throws -> TenantInput {
        let key = fields.key("key")
        let input = TenantInput(
            key: key,
            name: fields.string("name"),
            currency: fields.currency("currency"),
            zone: fields.value("timezone", default: .utc, expecting: zoneExpectation) { Zone(identifier: $0) },
            subjects: readSubjects(fields, key: key),
            costCenter: fields.optionalString("cost_center"),
            billingEmail: readEmail(fields),
            metadata: fields.metadata("metadata"),
            billing: fields.optionalObject("billing", TenantBilling.read) ?? TenantBilling()
        )
        try fields.finish()
        return input
    }

    fileprivate static let zoneExpectation = "a time zone of the IANA database such as \"Europe/Berlin\""

    fileprivate static func readSubjects(_ fields: JSONObjectReader, key: String) -> [String] {
        let subjects = fields.strings("subjects", maximumCount: maximumSubjectCount)
        for (index, subject) in subjects.enumerated() where subject == key {
            let detail = "the tenant's key is a subject already"
            fields.fault(at: "subjects/\(index)", code: "duplicate", detail: detail)
        }
        return subjects
    }

    fileprivate static func readEmail(_ fields: JSONObjectReader) -> String? {
        fields.optionalValue("billing_email", expecting: "an e-mail address") { text in
            let parts = text.split(separator: "@", omittingEmptySubsequences: false)
            let isSound = parts.count == 2 && parts.allSatisfy { !$0.isEmpty } && text.utf8.count <= 254
            return isSound && text.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7F } ? text : nil
        }
    }
}

/// A change of a tenant (RFC 7396): absent members stay, null clears.
struct TenantPatch: Sendable {
    enum Change<Value: Sendable>: Sendable {
        case keep
        case set(Value?)

        func applied(to current: Value?) -> Value? {
            switch self {
            case .keep: current
            case .set(let value): value
            }
        }
    }

    let name: String?
    let zone: Zone?
    let subjects: [String]?
    let costCenter: Change<String>
    let billingEmail: Change<String>
    let metadata: String?
    /// Replaced whole; null sets it back to what a tenant has at first.
    let billing: TenantBilling?

    static func read(_ body: JSONValue, key: String) throws -> TenantPatch {
        let fields = JSONObjectReader(body)
        fields.rejectImmutable(["key", "currency"], of: "a tenant")
        fields.rejectNull(["name", "timezone"])
        let costCenter = fields.optionalString("cost_center")
        let billingEmail = TenantInput.readEmail(fields)
        let subjects = TenantInput.readSubjects(fields, key: key)
        let patch = TenantPatch(
            name: fields.optionalString("name"),
            zone: fields.optionalValue("timezone", expecting: TenantInput.zoneExpectation) { Zone(identifier: $0) },
            subjects: body["subjects"] == nil ? nil : subjects,
            costCenter: body["cost_center"] == nil ? .keep : .set(costCenter),
            billingEmail: body["billing_email"] == nil ? .keep : .set(billingEmail),
            metadata: body["metadata"] == nil ? nil : fields.metadata("metadata"),
            billing: body["billing"] == nil
                ? nil : fields.optionalObject("billing", TenantBilling.read) ?? TenantBilling()
        )
        try fields.finish()
        return patch
    }

    /// The tenant as it is to be, of the same revision. Subjects that it has already stay in their order, which is that
    /// of the database.
    func applied(to tenant: Tenant) -> Tenant {
        var changed = tenant
        changed.name = name ?? tenant.name
        changed.zone = zone ?? tenant.zone
        if let subjects, Set(subjects.map { ExactText($0) }) != Set(tenant.subjects.map { ExactText($0) }) {
            changed.subjects = subjects.sorted()
        }
        changed.costCenter = costCenter.applied(to: tenant.costCenter)
        changed.billingEmail = billingEmail.applied(to: tenant.billingEmail)
        changed.metadata = metadata ?? tenant.metadata
        changed.billing = billing ?? tenant.billing
        return changed
    }
}
