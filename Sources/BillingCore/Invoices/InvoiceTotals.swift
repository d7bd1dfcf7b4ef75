/// What the lines of an invoice add up to: `subtotal - discount - credits + tax (unless prices contain it) = total -
/// carriedForward`, and `total - paidByCredit = due`.
package struct InvoiceTotals: Sendable, Hashable {
    /// The sum of the rounded lines.
    package let subtotal: FixedDecimal
    package let discount: FixedDecimal
    /// Included and promotional credit, and what credit notes gave back before of what lines take back.
    package let credits: FixedDecimal
    /// The sum of the lines' taxes, contained in the total either way.
    package let tax: FixedDecimal
    /// What is to be paid; never below zero.
    package let total: FixedDecimal
    /// What a sum below zero owes to the customer: it becomes a credit, and the total is zero.
    package let carriedForward: FixedDecimal
    /// Prepaid credit that pays the total, or a part of it.
    package let paidByCredit: FixedDecimal
    /// What is left to be paid.
    package let due: FixedDecimal

    /// Throws `.outOfRange` when a sum is 10^26 or more.
    package init(lines: [InvoiceLine], isTaxInclusive: Bool, payments: [CreditUse]) throws(DecimalError) {
        var (subtotal, discount) = (FixedDecimal.zero, FixedDecimal.zero)
        var (credits, tax) = (FixedDecimal.zero, FixedDecimal.zero)
        for line in lines {
            subtotal = try subtotal.adding(line.amount)
            discount = try discount.adding(line.discount)
            credits = try credits.adding(line.includedCredit).adding(line.promotionalCredit)
            for amount in line.creditedBefore.values { credits = try credits.adding(amount) }
            tax = try tax.adding(line.tax)
        }
        var sum = try subtotal.subtracting(discount).subtracting(credits)
        if !isTaxInclusive { sum = try sum.adding(tax) }
        var paid = FixedDecimal.zero
        for payment in payments { paid = try paid.adding(payment.amount) }
        self.subtotal = subtotal
        self.discount = discount
        self.credits = credits
        self.tax = tax
        total = max(sum, .zero)
        carriedForward = min(sum, .zero).negated
        paidByCredit = paid
        due = try total.subtracting(paid)
    }
}
