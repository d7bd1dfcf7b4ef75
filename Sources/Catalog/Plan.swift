package import BillingCore
import Web

/// A named series of versions in one currency.
package struct Plan: Sendable {
    package let id: PlanID
    package let key: String
    package var name: String
    package let currency: Currency
    package let createdAt: Instant
    package var updatedAt: Instant
    package var revision: Int64
}

/// A plan and the number of its latest published version.
struct ListedPlan: Sendable {
    var plan: Plan
    let publishedVersion: Int?
}

/// A draft can change; a published version never does.
package enum PlanVersionStatus: String, Sendable, Hashable, CaseIterable {
    case draft, published
}

/// A version of a plan as it is stored, draft or published.
package struct PlanVersionRecord: Sendable {
    package let id: PlanVersionID
    package let plan: Plan
    package let version: Int
    package var status: PlanVersionStatus
    package var definition: PlanDefinition
    package let createdAt: Instant
    package var updatedAt: Instant
    package var publishedAt: Instant?
    package var revision: Int64
}

/// What the API shows of a plan.
package struct PlanBody: Encodable, Sendable {
    let key: String
    let name: String
    let currency: String
    /// The number of the latest published version; null while there is none.
    let publishedVersion: Int?
    let createdAt: Instant
    let updatedAt: Instant

    init(_ listed: ListedPlan) {
        let plan = listed.plan
        key = plan.key
        name = plan.name
        currency = plan.currency.code
        publishedVersion = listed.publishedVersion
        createdAt = plan.createdAt
        updatedAt = plan.updatedAt
    }
}

/// What the API shows of a plan version.
package struct PlanVersionBody: Encodable, Sendable {
    let plan: String
    let version: Int
    let status: String
    let currency: String
    let interval: JSONValue
    let fees: JSONValue
    let charges: JSONValue
    let quotas: JSONValue
    let minimumCommitment: JSONValue
    let includedCredit: JSONValue
    let spendCap: JSONValue
    let trialDays: JSONValue
    let createdAt: Instant
    let updatedAt: Instant
    let publishedAt: Instant?

    init(_ record: PlanVersionRecord) {
        let definition = record.definition.json
        plan = record.plan.key
        version = record.version
        status = record.status.rawValue
        currency = record.plan.currency.code
        interval = definition["interval"] ?? .null
        fees = definition["fees"] ?? .null
        charges = definition["charges"] ?? .null
        quotas = definition["quotas"] ?? .null
        minimumCommitment = definition["minimum_commitment"] ?? .null
        includedCredit = definition["included_credit"] ?? .null
        spendCap = definition["spend_cap"] ?? .null
        trialDays = definition["trial_days"] ?? .null
        createdAt = record.createdAt
        updatedAt = record.updatedAt
        publishedAt = record.publishedAt
    }
}

/// The answer to publishing: the version, and what is allowed but seldom meant.
package struct PublishedVersionBody: Encodable, Sendable {
    struct Warning: Encodable, Sendable {
        let code: String
        let pointer: String
        let detail: String
    }

    let version: PlanVersionBody
    let warnings: [Warning]

    init(_ record: PlanVersionRecord, overlaps: [ChargeOverlap], unbounded: [UnboundedMatrix]) {
        version = PlanVersionBody(record)
        warnings =
            overlaps.map { overlap in
                Warning(
                    code: "overlapping_charges",
                    pointer: "/charges/\(overlap.index)/feature",
                    detail: "An event of type '\(overlap.eventType)' can be charged by '\(overlap.other)' and by "
                        + "'\(overlap.feature)'; both charges are then made."
                )
            }
            + unbounded.map { matrix in
                Warning(
                    code: "unbounded_dimension",
                    pointer: "/charges/\(matrix.index)/price/dimensions",
                    detail: "There is no end to the values of \(matrix.dimensions.joined(separator: ", ")), and the "
                        + "default price of '\(matrix.feature)' counts each on its own: one counter and one line of "
                        + "the invoice for each in every period."
                )
            }
    }

    private enum CodingKeys: String, CodingKey {
        case warnings
    }

    /// The members of the version, with `warnings` beside them.
    package func encode(to encoder: any Encoder) throws {
        try version.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(warnings, forKey: .warnings)
    }
}
