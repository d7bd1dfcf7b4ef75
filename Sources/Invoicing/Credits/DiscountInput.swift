import BillingCore
import Web

/// The body of a new discount.
struct DiscountInput: Sendable {
    let name: String
    let value: Discount
    let duration: DiscountRecord.Duration
    /// On how many invoices; nil for all.
    let invoices: Int?

    private static let invoices = 1...1_200

    static func read(_ fields: JSONObjectReader, currency: Currency) throws -> DiscountInput {
        fields.requireCurrency(currency)
        let name = fields.string("name")
        let value = readValue(fields, currency: currency)
        let duration = fields.choice("duration", of: DiscountRecord.Duration.self) ?? .once
        let count = fields.optionalInteger("invoices", in: invoices)
        switch duration {
        case .repeating where !fields.contains("invoices"):
            let detail = "\"invoices\" is required of a repeating discount: on how many invoices it is"
            fields.fault(at: "invoices", code: "required", detail: detail)
        case .once where fields.contains("invoices"), .forever where fields.contains("invoices"):
            let detail = "\"invoices\" belongs to a repeating discount only"
            fields.fault(at: "invoices", code: "not_applicable", detail: detail)
        default: break
        }
        try fields.finish()
        return DiscountInput(
            name: name,
            value: value,
            duration: duration,
            invoices: duration == .once ? 1 : count
        )
    }

    private static func readValue(_ fields: JSONObjectReader, currency: Currency) -> Discount {
        let isPercent = fields.contains("percent")
        let isAmount = fields.contains("amount")
        if isPercent, isAmount {
            let detail = "a discount has a \"percent\" or an \"amount\", not both"
            fields.fault(at: "amount", code: "not_applicable", detail: detail)
        } else if !isPercent, !isAmount {
            fields.fault(at: "percent", code: "required", detail: "\"percent\" or \"amount\" is required")
        }
        guard isPercent else {
            return .amount(isAmount ? fields.amount("amount", in: currency) : .zero)
        }
        let known = fields.faults.count
        let percent = fields.decimal("percent", minimum: .zero, maximum: FixedDecimal(100))
        if fields.faults.count == known, percent.isZero {
            fields.fault(at: "percent", code: "out_of_range", detail: "\"percent\" must be above zero")
        }
        return .percent(percent)
    }
}

extension DiscountRecord {
    init(_ input: DiscountInput, id: DiscountID, tenant: TenantID, now: Instant) {
        self.init(
            id: id,
            tenantID: tenant,
            name: input.name,
            value: input.value,
            duration: input.duration,
            repeats: input.invoices,
            uses: 0,
            createdAt: now,
            endedAt: nil,
            updatedAt: now,
            revision: 1
        )
    }
}

/// A discount as it is answered.
struct DiscountBody: Encodable, Sendable {
    let id: DiscountID
    let tenant: String
    let name: String
    let percent: FixedDecimal?
    let amount: String?
    let currency: String
    let duration: String
    /// On how many invoices it is; nil for all.
    let invoices: Int?
    /// On how many it has been.
    let used: Int
    let status: String
    let createdAt: Instant
    let endedAt: Instant?
    let updatedAt: Instant

    init(_ discount: DiscountRecord, tenant: String, currency: Currency) {
        id = discount.id
        self.tenant = tenant
        name = discount.name
        switch discount.value {
        case .percent(let value): (percent, amount) = (value, nil)
        case .amount(let value): (percent, amount) = (nil, Money(value, currency).formatted)
        }
        self.currency = currency.code
        duration = discount.duration.rawValue
        invoices = discount.repeats
        used = discount.uses
        status = (discount.endedAt == nil ? DiscountStatus.active : .ended).rawValue
        createdAt = discount.createdAt
        endedAt = discount.endedAt
        updatedAt = discount.updatedAt
    }
}

/// active -> ended, by an operator or with its last use. One that ended by its uses goes on when an invoice that had it
/// is voided.
enum DiscountStatus: String, Sendable, CaseIterable {
    case active, ended
}
