package import BillingCore
import Catalog
package import Web

/// A line of an invoice as it is pinned, or as it would be if its draft were finalised now.
package struct StoredInvoiceLine: Sendable, Hashable {
    /// What is charged for, by its name in the table.
    package enum Item: String, Sendable, Hashable, CaseIterable {
        case feeInAdvance = "fee_in_advance"
        case feeInArrears = "fee_in_arrears"
        case usage, commitment
        case includedCredit = "included_credit"
    }

    /// From 1, in the order of the invoice.
    package let number: Int
    package let kind: InvoiceLine.Kind
    package let item: Item
    /// The key of the fee or the feature; the name of the item for any other.
    package let itemKey: String
    /// The fee's or the feature's name.
    package let itemName: String
    package let periodIndex: Int
    /// The segment of the subscription; nil for what belongs to a period as a whole.
    package let segment: Int?
    package let featureID: FeatureID?
    /// The canonical text of the matrix cell; empty without one.
    package let cell: String
    package let period: Interval
    package let description: String
    /// What the segment used; nil where nothing is counted.
    package let quantity: FixedDecimal?
    package let planVersionID: PlanVersionID?
    /// The item's whole exact amount, with as many digits as it has.
    package let amountExact: String
    package let previouslyInvoiced: FixedDecimal
    /// What the line charges: the exact amount rounded, less what was invoiced before.
    package let amount: FixedDecimal
    package let discount: FixedDecimal
    package let includedCredit: FixedDecimal
    package let promotionalCredit: FixedDecimal
    package let tax: FixedDecimal
    package let facts: InvoiceLineFacts
}

/// What a line shows beside its amounts: pinned as JSON.
package struct InvoiceLineFacts: Sendable, Hashable {
    /// A tier's part of the exact amount.
    package struct Tier: Sendable, Hashable {
        /// What it charges for: see `TierCharge.Basis`.
        package let basis: String
        package let upTo: FixedDecimal?
        package let quantity: FixedDecimal
        package let unitAmount: FixedDecimal
        package let flatAmount: FixedDecimal
        /// Exact, with as many digits as it has.
        package let amount: String
    }

    /// The part of a flat amount that a part of a period is charged.
    package struct Prorated: Sendable, Hashable {
        /// For the whole period.
        package let amount: FixedDecimal
        /// Of elapsed time, in lowest terms.
        package let numerator: Int64
        package let denominator: Int64
    }

    package let plan: String
    package let planVersion: Int?
    package let unit: String?
    package let eventCount: Int64?
    /// What earlier segments of the period had used.
    package let quantityBefore: FixedDecimal?
    package let priceModel: String?
    package let tiers: [Tier]
    package let taxes: [LineTax]
    /// The ledger sequence of the last event that changed the line's counter.
    package let ledgerSequence: Int64?
    package let billingPeriodID: BillingPeriodID?
    /// The line's promotional credit by the credit it came from; below zero where it went back to it.
    package var promotionalCredits: [UUIDv7: FixedDecimal] = [:]
    /// What credit notes had given back before of what the line takes back, by credit note: below zero where it does
    /// not go back again, above where it pays for something else.
    package var creditedBefore: [UUIDv7: FixedDecimal] = [:]
    /// Nil where a whole period is charged, or nothing flat.
    package var prorated: Prorated?
}

extension StoredInvoiceLine {
    func write(to writer: inout CanonicalWriter) {
        writer.put(String(number))
        writer.put(kind.rawValue)
        writer.put(item.rawValue)
        writer.put(itemKey)
        writer.put(itemName)
        writer.put(String(periodIndex))
        writer.put(segment.map { String($0) })
        writer.put(featureID?.description)
        writer.put(cell)
        writer.put(period.start.description)
        writer.put(period.end.description)
        writer.put(description)
        writer.put(quantity?.description)
        writer.put(planVersionID?.description)
        writer.put(amountExact)
        for amount in [previouslyInvoiced, self.amount, discount, includedCredit, promotionalCredit, tax] {
            writer.put(amount.description)
        }
        writer.put(facts.json.text)
    }

    /// The sum of what credit notes had given back before.
    package var creditedBefore: FixedDecimal {
        get throws(DecimalError) {
            var sum = FixedDecimal.zero
            for amount in facts.creditedBefore.values { sum = try sum.adding(amount) }
            return sum
        }
    }

    /// What is left after discounts and credits, and after what credit notes gave back: what is taxed.
    package var net: FixedDecimal {
        get throws(DecimalError) {
            try amount.subtracting(discount).subtracting(includedCredit).subtracting(promotionalCredit)
                .subtracting(creditedBefore)
        }
    }
}

extension InvoiceLineFacts {
    /// As it is stored.
    package var json: JSONValue {
        let facts = JSONValue.members([
            "billing_period": .integer(billingPeriodID?.rawValue),
            "event_count": .integer(eventCount),
            "ledger_sequence": .integer(ledgerSequence),
            "plan": .string(plan),
            "plan_version": .integer(planVersion.map(Int64.init)),
            "price_model": .text(priceModel),
            "quantity_before": .amount(quantityBefore),
            "taxes": .array(
                taxes.map { .members(["amount": .amount($0.amount), "rate": .string($0.rateKey)]) }
            ),
            "tiers": .array(tiers.map(\.json)),
            "unit": .text(unit),
        ])
        guard case .object(var members) = facts else { return facts }
        if !creditedBefore.isEmpty {
            members.append(JSONMember(name: "credited_before", value: creditedBefore.json(by: "credit_note")))
        }
        if !promotionalCredits.isEmpty {
            members.append(JSONMember(name: "promotional_credits", value: promotionalCredits.json(by: "credit_grant")))
        }
        if let prorated { members.append(JSONMember(name: "prorated", value: prorated.json)) }
        return .object(members)
    }

    /// Nil for what this room never wrote.
    package init?(json: JSONValue) {
        guard let plan = json.text("plan") else { return nil }
        self.plan = plan
        planVersion = json.integer("plan_version")
        unit = json.text("unit")
        eventCount = json.integer("event_count").map(Int64.init)
        quantityBefore = json.decimal("quantity_before")
        priceModel = json.text("price_model")
        tiers = json.list("tiers").compactMap(Tier.init(json:))
        taxes = json.list("taxes").compactMap { tax in
            guard let rate = tax.text("rate"), let amount = tax.decimal("amount") else { return nil }
            return LineTax(rateKey: rate, amount: amount)
        }
        ledgerSequence = json.integer("ledger_sequence").map(Int64.init)
        billingPeriodID = json.integer("billing_period").map { BillingPeriodID(rawValue: Int64($0)) }
        promotionalCredits = [UUIDv7: FixedDecimal](json: json["promotional_credits"], by: "credit_grant")
        creditedBefore = [UUIDv7: FixedDecimal](json: json["credited_before"], by: "credit_note")
        prorated = json["prorated"].flatMap(Prorated.init(json:))
    }
}

extension [UUIDv7: FixedDecimal] {
    /// Parts of credits as they are stored, by ascending id.
    /// - Parameter name: of the member that names the credit.
    func json(by name: String) -> JSONValue {
        .array(
            sorted { $0.key < $1.key }.map { id, amount in
                .object([
                    JSONMember(name: "amount", value: .amount(amount)),
                    JSONMember(name: name, value: .string(id.description)),
                ])
            }
        )
    }

    init(json: JSONValue?, by name: String) {
        self = [:]
        guard case .array(let elements) = json else { return }
        for part in elements {
            guard let id = part.text(name).flatMap({ UUIDv7($0) }), let amount = part.decimal("amount") else {
                continue
            }
            self[id] = amount
        }
    }
}

extension InvoiceLineFacts.Prorated {
    fileprivate var json: JSONValue {
        .members([
            "amount": .amount(amount), "denominator": .integer(denominator), "numerator": .integer(numerator),
        ])
    }

    fileprivate init?(json: JSONValue) {
        guard let amount = json.decimal("amount"), let numerator = json.integer("numerator"),
            let denominator = json.integer("denominator")
        else { return nil }
        self.init(amount: amount, numerator: Int64(numerator), denominator: Int64(denominator))
    }
}

extension InvoiceLineFacts.Tier {
    package var json: JSONValue {
        .members([
            "amount": .string(amount), "basis": .string(basis), "flat_amount": .amount(flatAmount),
            "quantity": .amount(quantity),
            "unit_amount": .amount(unitAmount), "up_to": .amount(upTo),
        ])
    }

    fileprivate init?(json: JSONValue) {
        guard let amount = json.text("amount"), let flat = json.decimal("flat_amount"),
            let quantity = json.decimal("quantity"), let unit = json.decimal("unit_amount")
        else { return nil }
        self.init(
            basis: json.text("basis") ?? TierCharge.Basis.tier.rawValue,
            upTo: json.decimal("up_to"),
            quantity: quantity,
            unitAmount: unit,
            flatAmount: flat,
            amount: amount
        )
    }

    init(_ charge: TierCharge) {
        self.init(
            basis: charge.basis.rawValue,
            upTo: charge.upTo,
            quantity: charge.quantity,
            unitAmount: charge.unitAmount,
            flatAmount: charge.flatAmount,
            amount: charge.amount.description
        )
    }
}

extension JSONValue {
    fileprivate static func integer(_ value: Int64?) -> JSONValue { value.map { .number(String($0)) } ?? .null }
}
