import BillingCore
import Web

extension JSONObjectReader {
    /// A required amount above zero, in whole minor units of the currency. A faulty one is recorded, as is one that is
    /// missing.
    func amount(_ name: String, in currency: Currency) -> FixedDecimal {
        let known = faults.count
        let amount = decimal(name)
        guard faults.count == known else { return amount }
        let path = JSONPointer.escaped(name)
        if amount <= .zero {
            fault(at: path, code: "out_of_range", detail: "\"\(name)\" must be above zero")
        } else if !currency.hasMinorUnits(amount) {
            let digits = currency.minorUnits
            let detail = "\"\(name)\" must have at most \(digits) digits after the decimal point, as \(currency) has"
            fault(at: path, code: "out_of_range", detail: detail)
        }
        return amount
    }

    /// An optional `currency`, which can only be the one given.
    func requireCurrency(_ currency: Currency) {
        guard let code = optionalString("currency"), code != currency.code else { return }
        fault(at: "currency", code: "currency_mismatch", detail: "The tenant is billed in \(currency).")
    }
}

extension Currency {
    /// Whether an amount is a whole number of the currency's minor units.
    func hasMinorUnits(_ amount: FixedDecimal) -> Bool {
        (try? ExactAmount(amount).rounded(toDigits: minorUnits)) == amount
    }
}
