package import BillingCore
package import Catalog
package import Web

/// What an invoice shows beside amounts: pinned as JSON, never asked for in SQL.
package struct InvoiceFacts: Sendable, Hashable {
    /// A discount as it was applied.
    package struct Discount: Sendable, Hashable {
        package let id: DiscountID
        package let name: String
        package let percent: FixedDecimal?
        package let amount: FixedDecimal?
        /// What it took off this invoice.
        package let taken: FixedDecimal
    }

    /// A credit as it was used.
    package struct Credit: Sendable, Hashable {
        package let id: CreditGrantID
        package let name: String
        package let kind: AvailableCredit.Kind
        /// What this invoice used of it.
        package let amount: FixedDecimal
    }

    /// What was counted and is in no amount: the plan does not mention it, or its price follows a provider cost that is
    /// not known.
    package struct Unpriced: Sendable, Hashable {
        /// What lacks a provider cost: so many events of what a segment of a period used.
        package struct Uncosted: Sendable, Hashable {
            package let events: Int64
            package let period: Interval
        }

        package let feature: String
        /// The canonical text of a matrix cell without a price; empty for a feature without one.
        package let cell: String
        package let quantity: FixedDecimal
        package let unit: String
        /// Nil where the price itself is missing.
        package var uncosted: Uncosted?
        /// How many of the same feature are added up in it, which stand on the invoice no other way; nil where it is
        /// one. See `shortened`.
        package var sumOf: Int?
    }

    package let plan: String
    package let planName: String
    package let planVersion: Int
    /// In which the dates of the lines are written.
    package let timezone: String
    package let billingEmail: String?
    package let billing: TenantBilling
    package let notes: [String]
    package let discounts: [Discount]
    package let credits: [Credit]
    package var unpriced: [Unpriced]
    /// The earlier periods whose adjustments are on the invoice, or would be if there were any.
    package let adjustedPeriods: [Int]
    /// When the subscription was to end, and how many segments it had, as known when the invoice was finalised: what
    /// fees in advance were charged by.
    package var endsAt: Instant?
    package var segmentCount: Int?
    /// Those of the segments that could be withdrawn afterwards.
    package var scheduledSegments: [ScheduledSegment] = []
    /// Nil where the operator has not said who it is.
    package var seller: InvoiceSeller?
    /// What went back to promotional credits.
    package var returnedCredits: [Credit] = []
    /// Rates that are none of `billing`'s, by which what lines take back was taxed.
    package var formerRates: [TaxRate] = []
    /// The number in its series of the last credit note that was known of what is adjusted: those up to it lowered what
    /// was paid for that. Nil where there was none.
    package var creditNotesThrough: Int64?
}

extension InvoiceFacts {
    /// The rates of all taxes on the invoice.
    package var taxRates: [TaxRate] { billing.tax.dueRates + formerRates }
}

extension InvoiceFacts {
    /// As it is stored.
    package var json: JSONValue {
        let facts = JSONValue.members([
            "adjusted_periods": .array(adjustedPeriods.map { .number(String($0)) }),
            "billing": billing.json,
            "billing_email": .text(billingEmail),
            "credits": .array(credits.map(\.json)),
            "discounts": .array(discounts.map(\.json)),
            "notes": .array(notes.map(JSONValue.string)),
            "plan": .string(plan),
            "plan_name": .string(planName),
            "plan_version": .number(String(planVersion)),
            "timezone": .string(timezone),
            "unpriced": .array(unpriced.map(\.json)),
        ])
        guard case .object(var members) = facts else { return facts }
        if let seller { members.append(JSONMember(name: "seller", value: seller.json)) }
        if !scheduledSegments.isEmpty {
            members.append(JSONMember(name: "scheduled_segments", value: .array(scheduledSegments.map(\.json))))
        }
        if let segmentCount { members.append(JSONMember(name: "segments", value: .number(String(segmentCount)))) }
        if let endsAt { members.append(JSONMember(name: "subscription_ends_at", value: .instant(endsAt))) }
        if !returnedCredits.isEmpty {
            members.append(JSONMember(name: "returned_credits", value: .array(returnedCredits.map(\.json))))
        }
        if let creditNotesThrough {
            members.append(JSONMember(name: "credit_notes_through", value: .number(String(creditNotesThrough))))
        }
        if !formerRates.isEmpty { members.append(JSONMember(name: "former_rates", value: formerRates.json)) }
        return .object(members)
    }

    /// Nil for what this room never wrote.
    package init?(json: JSONValue) {
        guard let plan = json.text("plan"), let planName = json.text("plan_name"),
            let planVersion = json.integer("plan_version"), let timezone = json.text("timezone"),
            let billing = json["billing"].flatMap(TenantBilling.init(json:))
        else { return nil }
        self.plan = plan
        self.planName = planName
        self.planVersion = planVersion
        self.timezone = timezone
        self.billing = billing
        billingEmail = json.text("billing_email")
        notes = json.list("notes").compactMap(\.asText)
        discounts = json.list("discounts").compactMap(Discount.init(json:))
        credits = json.list("credits").compactMap(Credit.init(json:))
        unpriced = json.list("unpriced").compactMap(Unpriced.init(json:))
        adjustedPeriods = json.list("adjusted_periods").compactMap(\.asInteger)
        endsAt = json.instant("subscription_ends_at")
        segmentCount = json.integer("segments")
        scheduledSegments = json.list("scheduled_segments").compactMap(ScheduledSegment.init(json:))
        seller = json["seller"].flatMap(InvoiceSeller.init(json:))
        returnedCredits = json.list("returned_credits").compactMap(Credit.init(json:))
        creditNotesThrough = json.integer("credit_notes_through").map(Int64.init)
        formerRates = json["former_rates"].map { [TaxRate](json: $0) } ?? []
    }
}

extension InvoiceFacts.Discount {
    package var json: JSONValue {
        .members([
            "amount": .amount(amount), "id": .string(id.description), "name": .string(name),
            "percent": .amount(percent),
            "taken": .amount(taken),
        ])
    }

    fileprivate init?(json: JSONValue) {
        guard let id = json.text("id").flatMap({ DiscountID($0) }), let name = json.text("name"),
            let taken = json.decimal("taken")
        else { return nil }
        self.init(id: id, name: name, percent: json.decimal("percent"), amount: json.decimal("amount"), taken: taken)
    }
}

extension InvoiceFacts.Credit {
    package var json: JSONValue {
        .members([
            "amount": .amount(amount), "id": .string(id.description), "kind": .string(kind.rawValue),
            "name": .string(name),
        ])
    }

    fileprivate init?(json: JSONValue) {
        guard let id = json.text("id").flatMap({ CreditGrantID($0) }), let name = json.text("name"),
            let kind = json.text("kind").flatMap(AvailableCredit.Kind.init(rawValue:)),
            let amount = json.decimal("amount")
        else { return nil }
        self.init(id: id, name: name, kind: kind, amount: amount)
    }
}

extension ScheduledSegment {
    fileprivate var json: JSONValue {
        .members([
            "ordinal": .number(String(ordinal)), "overrides": overrides ?? .null,
            "plan_version_id": .number(String(planVersionID.rawValue)), "starts_at": .instant(startsAt),
        ])
    }

    fileprivate init?(json: JSONValue) {
        guard let ordinal = json.integer("ordinal"), let version = json.integer("plan_version_id"),
            let startsAt = json.text("starts_at").flatMap({ try? Instant(parsing: $0) })
        else { return nil }
        self.init(
            ordinal: ordinal,
            planVersionID: PlanVersionID(rawValue: Int64(version)),
            startsAt: startsAt,
            overrides: json["overrides"].flatMap { $0 == .null ? nil : $0 }
        )
    }
}

extension InvoiceFacts.Unpriced {
    package var json: JSONValue {
        var members = [
            JSONMember(name: "cell", value: .string(cell)), JSONMember(name: "feature", value: .string(feature)),
            JSONMember(name: "quantity", value: .amount(quantity)), JSONMember(name: "unit", value: .string(unit)),
        ]
        if let uncosted {
            members += [
                JSONMember(name: "uncosted_events", value: .number(String(uncosted.events))),
                JSONMember(name: "uncosted_from", value: .instant(uncosted.period.start)),
                JSONMember(name: "uncosted_to", value: .instant(uncosted.period.end)),
            ]
        }
        if let sumOf { members.append(JSONMember(name: "sum_of", value: .number(String(sumOf)))) }
        return .object(members)
    }

    fileprivate init?(json: JSONValue) {
        guard let feature = json.text("feature"), let quantity = json.decimal("quantity"), let unit = json.text("unit")
        else { return nil }
        self.init(feature: feature, cell: json.text("cell") ?? "", quantity: quantity, unit: unit)
        if let events = json.integer("uncosted_events"), let from = json.instant("uncosted_from"),
            let to = json.instant("uncosted_to")
        {
            uncosted = Uncosted(events: Int64(events), period: Interval(start: from, end: to))
        }
        sumOf = json.integer("sum_of")
    }
}

// MARK: Reading stored JSON

extension JSONValue {
    static func amount(_ amount: FixedDecimal?) -> JSONValue { .text(amount?.description) }

    var asText: String? { if case .string(let text) = self { text } else { nil } }
    var asInteger: Int? { if case .number(let text) = self { Int(text) } else { nil } }

    func text(_ name: String) -> String? { self[name]?.asText }
    func integer(_ name: String) -> Int? { self[name]?.asInteger }
    func decimal(_ name: String) -> FixedDecimal? { text(name).flatMap { try? FixedDecimal(parsing: $0) } }

    func instant(_ name: String) -> Instant? { text(name).flatMap { try? Instant(parsing: $0) } }

    func list(_ name: String) -> [JSONValue] {
        if case .array(let elements) = self[name] { elements } else { [] }
    }
}
