import BillingCore
import Catalog
import Web

/// An invoice as it is answered. What is pinned is written from the document and its lines alone; what may change
/// afterwards (status, payment, credit notes) from the invoice's row.
struct InvoiceBody: Encodable, Sendable {
    private let json: JSONValue

    /// An invoice with its lines; `id` is left out of what is not stored.
    init(_ whole: WholeInvoice, isStored: Bool = true, now: Instant) throws(DecimalError) {
        let document = whole.document
        let facts = document.facts
        let money = { (amount: FixedDecimal) in JSONValue.string(Money(amount, document.currency).formatted) }
        var members = Self.state(whole.invoice, document, isStored: isStored, now: now)
        members += Self.amounts(document.amounts, money)
        var lines: [JSONValue] = []
        for line in whole.lines { lines.append(try Self.line(line, money)) }
        members["applied_credits"] = .array(facts.credits.map { Self.credit($0, money) })
        members["returned_credits"] = .array(facts.returnedCredits.map { Self.credit($0, money) })
        members["discounts"] = .array(
            facts.discounts.map {
                .members([
                    "amount": .amount($0.amount), "discount": .string($0.id.description), "name": .string($0.name),
                    "percent": .amount($0.percent), "taken": money($0.taken),
                ])
            }
        )
        members["lines"] = .array(lines)
        members["notes"] = .array(facts.notes.map(JSONValue.string))
        members["taxes"] = .array(try Self.taxes(whole, money))
        members["unpriced"] = .array(facts.unpriced.map(Self.unpriced))
        json = .sorted(members)
    }

    /// An invoice as a list shows it: without lines. A draft's amounts are not computed there.
    init(listed head: InvoiceStore.Head, tenantKey: String, now: Instant) {
        var members: [String: JSONValue]
        if let document = head.document {
            members = Self.state(head.invoice, document, isStored: true, now: now)
            members += Self.amounts(document.amounts) { .string(Money($0, document.currency).formatted) }
        } else {
            members = Self.state(head.invoice, nil, isStored: true, now: now)
            members["tenant"] = .string(tenantKey)
        }
        json = .sorted(members)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(json)
    }

    /// The body as it is.
    var value: JSONValue { json }

    private static func state(
        _ invoice: StoredInvoice,
        _ document: StoredDocument?,
        isStored: Bool,
        now: Instant
    ) -> [String: JSONValue] {
        let outstanding = invoice.outstanding(of: document)
        let isOverdue = invoice.status == .finalized && (document?.dueAt).map { $0 < now } == true
        let money = { (amount: FixedDecimal) -> JSONValue in
            document.map { .string(Money(amount, $0.currency).formatted) } ?? .null
        }
        return [
            "amount_outstanding": outstanding.map(money) ?? .null,
            "content_hash": document?.number == nil ? .null : .text(document?.contentHashText),
            "created_at": .instant(isStored ? invoice.createdAt : nil),
            "credited": money(invoice.credited),
            "currency": .text(document?.currency.code),
            "due_at": .instant(document?.dueAt),
            "finalized_at": .instant(document?.finalizedAt),
            "finalizes_at": .instant(isStored && invoice.status == .draft ? invoice.issuedAt : nil),
            "id": isStored ? .string(invoice.id.description) : .null,
            "invoice_kind": .string(invoice.kind.rawValue),
            "number": .text(document?.number),
            "overdue": .bool(isOverdue),
            "paid_at": .instant(invoice.paidAt),
            "period": .period(invoice.period),
            "plan": .text(document?.facts.plan),
            "reissue_of": .text(invoice.reissueOf?.description),
            "status": .string(invoice.status.rawValue),
            "subscription": .string(invoice.subscriptionID.description),
            "tenant": .text(document?.tenantKey),
            "tenant_name": .text(document?.tenantName),
            "timezone": .text(document?.facts.timezone),
            "uncollectible_at": .instant(invoice.uncollectibleAt),
            "voided_at": .instant(invoice.voidedAt),
        ]
    }

    private static func amounts(
        _ amounts: InvoiceAmounts,
        _ money: (FixedDecimal) -> JSONValue
    ) -> [String: JSONValue] {
        [
            "amount_due": money(amounts.due), "carried_forward": money(amounts.carriedForward),
            "credits": money(amounts.credits), "discount": money(amounts.discount),
            "paid_by_credit": money(amounts.paidByCredit), "subtotal": money(amounts.subtotal),
            "tax": money(amounts.tax), "total": money(amounts.total),
        ]
    }

    private static func credit(_ credit: InvoiceFacts.Credit, _ money: (FixedDecimal) -> JSONValue) -> JSONValue {
        .members([
            "amount": money(credit.amount), "credit_grant": .string(credit.id.description),
            "kind": .string(credit.kind.rawValue), "name": .string(credit.name),
        ])
    }

    private static func taxes(
        _ whole: WholeInvoice,
        _ money: (FixedDecimal) -> JSONValue
    ) throws(DecimalError) -> [JSONValue] {
        let tax = whole.document.facts.billing.tax
        var taxes: [JSONValue] = []
        for rate in whole.document.facts.taxRates {
            var sum = FixedDecimal.zero
            for line in whole.lines {
                for part in line.facts.taxes where part.rateKey == rate.key { sum = try sum.adding(part.amount) }
            }
            taxes.append(
                .members([
                    "amount": money(sum), "inclusive": .bool(tax.isInclusive), "key": .string(rate.key),
                    "name": .string(rate.name), "percent": .amount(rate.percent),
                ])
            )
        }
        return taxes
    }
}

// MARK: Lines

extension InvoiceBody {
    static func unpriced(_ unpriced: InvoiceFacts.Unpriced) -> JSONValue {
        .members([
            "cell": .cell(unpriced.cell),
            "events": unpriced.uncosted.map { .number(String($0.events)) } ?? .null,
            "feature": .string(unpriced.feature),
            "lacks": .string(unpriced.uncosted == nil ? "price" : "cost"),
            "period": unpriced.uncosted.map { .period($0.period) } ?? .null,
            "quantity": .amount(unpriced.quantity),
            "unit": .string(unpriced.unit),
        ])
    }

    private static func line(
        _ line: StoredInvoiceLine,
        _ money: (FixedDecimal) -> JSONValue
    ) throws(DecimalError) -> JSONValue {
        var members: [String: JSONValue] = [
            "amount": money(line.amount),
            "amount_unrounded": .string(line.amountUnrounded),
            "description": .string(line.description),
            "discount": money(line.discount),
            "included_credit": money(line.includedCredit),
            "item": .string(line.item.rawValue),
            "kind": .string(line.kind.rawValue),
            "line": .number(String(line.number)),
            "period": .period(line.period),
            "plan": .string(line.facts.plan),
            "plan_version": line.facts.planVersion.map { .number(String($0)) } ?? .null,
            "previously_invoiced": money(line.previouslyInvoiced),
            "credited_before": money(try line.creditedBefore),
            "promotional_credit": money(line.promotionalCredit),
            "tax": money(line.tax),
            "taxes": .array(
                line.facts.taxes.map { .members(["amount": money($0.amount), "rate": .string($0.rateKey)]) }
            ),
        ]
        switch line.item {
        case .feeInAdvance, .feeInArrears:
            members["fee"] = .string(line.itemKey)
        case .usage:
            members["feature"] = .string(line.itemKey)
            members["cell"] = .cell(line.cell)
            members["quantity"] = .amount(line.quantity)
            members["quantity_before"] = .amount(line.facts.quantityBefore)
            members["unit"] = .text(line.facts.unit)
            members["price_model"] = .text(line.facts.priceModel)
            members["tiers"] = .array(line.facts.tiers.map(\.json))
        case .commitment, .includedCredit:
            break
        }
        return .sorted(members)
    }
}

extension StoredInvoice {
    /// What is still to be paid; nil for a draft that is not computed.
    func outstanding(of document: StoredDocument?) -> FixedDecimal? {
        guard let document else { return nil }
        switch status {
        case .paid, .void: return .zero
        case .draft, .finalized, .uncollectible:
            let left = try? document.amounts.due.subtracting(credited)
            return max(left ?? .zero, .zero)
        }
    }
}

extension StoredInvoiceLine {
    /// The exact amount with 12 digits after the point, for display.
    var amountUnrounded: String {
        (try? FixedDecimal(parsing: amountExact))?.text(minimumFractionalDigits: 12) ?? amountExact
    }
}

extension JSONValue {
    /// An object whose members are sorted by name.
    static func sorted(_ members: [String: JSONValue]) -> JSONValue {
        .object(members.sorted { $0.key < $1.key }.map { JSONMember(name: $0.key, value: $0.value) })
    }

    static func instant(_ instant: Instant?) -> JSONValue { .text(instant?.description) }

    static func period(_ period: Interval) -> JSONValue {
        .members(["end": .instant(period.end), "start": .instant(period.start)])
    }

    /// The dimension values that the text of a cell spells; none for the empty text.
    static func cell(_ text: String) -> JSONValue {
        (try? JSONValue(parsing: text)) ?? .object([])
    }
}

extension [String: JSONValue] {
    fileprivate static func += (left: inout Self, right: Self) { left.merge(right) { $1 } }
}
