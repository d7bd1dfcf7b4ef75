package import BillingCore
package import Postgres
package import Web

/// How a tenant is billed: what its invoices say about taxes and address, and when they are due.
package struct TenantBilling: Sendable, Hashable {
    package var tax = TaxTreatment.none
    /// From the day an invoice is finalised until it is due.
    package var paymentTermsDays = 30
    /// Lines of the postal address by the name of each; nil for none.
    package var address: BillingAddress?
    /// The tenant's own number at its tax authority.
    package var taxID: String?

    package init() {}
}

/// A postal address as an invoice shows it.
package struct BillingAddress: Sendable, Hashable {
    package var line1: String?
    package var line2: String?
    package var postalCode: String?
    package var city: String?
    package var state: String?
    /// ISO 3166-1, two letters.
    package var country: String?

    package init() {}
}

extension TenantBilling {
    private static let maximumRates = 8
    private static let maximumTermsDays = 365

    /// Reads the members of `billing`.
    package static func read(_ fields: JSONObjectReader) -> TenantBilling {
        var billing = TenantBilling()
        billing.tax = fields.optionalObject("tax", readTax) ?? .none
        billing.paymentTermsDays = fields.integer("payment_terms_days", in: 0...maximumTermsDays, default: 30)
        billing.address = fields.optionalObject("address", BillingAddress.read)
        billing.taxID = fields.optionalString("tax_id", maximumLength: 50)
        return billing
    }

    /// As it is shown and stored.
    package var json: JSONValue {
        .members([
            "address": address?.json ?? .null,
            "payment_terms_days": .number(String(paymentTermsDays)),
            "tax": tax.json,
            "tax_id": .text(taxID),
        ])
    }

    private static func readTax(_ fields: JSONObjectReader) -> TaxTreatment {
        let rates = fields.objects("rates", maximumCount: maximumRates) { rate in
            TaxRate(
                key: rate.key("key"),
                name: rate.string("name"),
                percent: readPercent(rate)
            )
        }
        var keys: Set<String> = []
        for (index, rate) in rates.enumerated() where !keys.insert(rate.key).inserted {
            fields.fault(at: "rates/\(index)/key", code: "duplicate", detail: "each rate has a key of its own")
        }
        return TaxTreatment(
            rates: rates,
            isInclusive: fields.bool("inclusive", default: false),
            isReverseCharge: fields.bool("reverse_charge", default: false)
        )
    }

    /// At most four fractional digits, so that taxes divide exactly.
    private static func readPercent(_ fields: JSONObjectReader) -> FixedDecimal {
        let percent = fields.decimal("percent", minimum: .zero, maximum: FixedDecimal(100))
        if percent.unscaled % (FixedDecimal.unscaledOne / 10_000) != 0 {
            fields.fault(at: "percent", code: "out_of_range", detail: "\"percent\" has at most 4 fractional digits")
        }
        return percent
    }
}

extension TaxTreatment {
    /// As it is shown and stored.
    package var json: JSONValue {
        .members([
            "inclusive": .bool(isInclusive),
            "rates": .array(
                rates.map { rate in
                    .members([
                        "key": .string(rate.key), "name": .string(rate.name),
                        "percent": .string(rate.percent.description),
                    ])
                }
            ),
            "reverse_charge": .bool(isReverseCharge),
        ])
    }
}

extension BillingAddress {
    fileprivate static func read(_ fields: JSONObjectReader) -> BillingAddress {
        var address = BillingAddress()
        address.line1 = fields.optionalString("line1")
        address.line2 = fields.optionalString("line2")
        address.postalCode = fields.optionalString("postal_code", maximumLength: 20)
        address.city = fields.optionalString("city")
        address.state = fields.optionalString("state")
        address.country = fields.optionalValue("country", expecting: "a country code such as \"DE\"") { text in
            text.utf8.count == 2 && text.utf8.allSatisfy { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
                ? text : nil
        }
        return address
    }

    package var json: JSONValue {
        .members([
            "city": .text(city), "country": .text(country), "line1": .text(line1), "line2": .text(line2),
            "postal_code": .text(postalCode), "state": .text(state),
        ])
    }
}

extension JSONValue {
    /// A string, or null.
    package static func text(_ text: String?) -> JSONValue { text.map(JSONValue.string) ?? .null }
}

extension TenantBilling: PostgresConvertible {
    package init?(postgres: PostgresJSON) {
        guard let json = try? JSONValue(stored: postgres.text) else { return nil }
        self.init(json: json)
    }

    package var postgres: PostgresJSON { PostgresJSON(text: json.text) }
}

extension TenantBilling {
    /// Reads what `json` gives; nil for anything else.
    package init?(json: JSONValue) {
        let fields = JSONObjectReader(json)
        self = Self.read(fields)
        guard fields.faults.isEmpty else { return nil }
    }
}
