extension InvoicedPeriod {
    /// Gives promotional credit back with what lines take back of it, in place of money.
    ///
    /// An item that goes down gives back the share that it was given of it, on its lines below zero. What a credit note
    /// gave back before is such a share too, so that it is not given back twice. Usage, fees in arrears, commitment and
    /// included credit of a period depend on each other; so for them together two things hold besides: no more money
    /// goes back than was paid, and what came back first pays what else has come to be charged for the same.
    /// - Returns: what goes back to the credits it came from.
    func giveBackPromotionalCredit(
        to lines: inout [InvoiceLine],
        currency: Currency
    ) throws(DecimalError) -> CreditParts {
        guard !invoiced.isEmpty else { return CreditParts() }
        let own = lines.indices.filter { lines[$0].key.periodIndex == index }
        var together = SharedPromotion(currency: currency)
        for amount in invoiced.values where amount.item.sharesIncludedCredit { try together.count(amount) }
        try together.limit()
        var returned = CreditParts()
        for item in try items(of: lines) {
            var change = FixedDecimal.zero
            var below: [FixedDecimal] = []
            for line in item.lines {
                let net = try lines[line].net
                change = try change.adding(net)
                below.append(max(net.negated, .zero))
            }
            guard change.isNegative, let before = item.before else { continue }
            var held = CreditParts(before.credits)
            let isShared = lines[item.lines[0]].item.sharesIncludedCredit
            if isShared { held = held.limited(to: together.held) }
            let chargeable = try before.chargeable
            let share = try min(held.total, max(chargeable, .zero))
                .share(ofTaking: change.magnitude, from: chargeable, currency: currency)
            for (line, part) in zip(item.lines, try LargestRemainder.split(share, over: below, currency: currency)) {
                let taken = try held.take(part, currency: currency)
                try lines[line].giveBack(taken)
                if isShared { try together.release(taken) } else { try returned.add(taken) }
            }
        }
        let shared = own.filter { lines[$0].item.sharesIncludedCredit }
        try together.giveBackWhatMoneyDidNotPay(with: shared, of: &lines)
        try together.payWhatIsChargedMore(with: shared, of: &lines)
        try returned.add(together.released)
        return returned
    }
}

/// The promotional credit of the items of a period that depend on each other.
private struct SharedPromotion {
    let currency: Currency
    /// What those items hold of it still.
    private(set) var held = CreditParts()
    /// What lines gave back of it.
    private(set) var released = CreditParts()
    /// What the items were charged before promotional credit.
    private var charged = FixedDecimal.zero
    private var sums: [CreditSource: FixedDecimal] = [:]
    /// What of `charged` was not paid by promotional credit.
    private var paid = FixedDecimal.zero

    init(currency: Currency) {
        self.currency = currency
    }

    mutating func count(_ amount: InvoicedAmount) throws(DecimalError) {
        charged = try charged.adding(amount.chargeable)
        try sums.add(amount.credits)
    }

    /// Call it once all items are counted.
    mutating func limit() throws(DecimalError) {
        held = CreditParts(sums)
        paid = max(try charged.subtracting(held.total), .zero)
    }

    mutating func release(_ parts: CreditParts) throws(DecimalError) {
        try held.remove(parts)
        try released.add(parts)
    }

    /// Lines below zero give back credit in place of the money that nobody paid.
    mutating func giveBackWhatMoneyDidNotPay(
        with own: [Int],
        of lines: inout [InvoiceLine]
    ) throws(DecimalError) {
        var owed: [FixedDecimal] = []
        var sum = FixedDecimal.zero
        for line in own {
            owed.append(max(try lines[line].net.negated, .zero))
            sum = try sum.adding(owed[owed.count - 1])
        }
        let excess = min(max(try sum.subtracting(paid), .zero), try held.total)
        for (line, share) in zip(own, try LargestRemainder.split(excess, over: owed, currency: currency)) {
            var left = held
            let parts = try left.take(share, currency: currency)
            try lines[line].giveBack(parts)
            try release(parts)
        }
    }

    /// Lines above zero take what came back, as far as there is something left to pay for.
    mutating func payWhatIsChargedMore(with own: [Int], of lines: inout [InvoiceLine]) throws(DecimalError) {
        var (left, sum) = (charged, FixedDecimal.zero)
        var more: [FixedDecimal] = []
        for line in own {
            left = try left.adding(lines[line].chargeable)
            more.append(max(try lines[line].net, .zero))
            sum = try sum.adding(more[more.count - 1])
        }
        let most = max(try left.subtracting(held.total), .zero)
        let amount = min(try released.total, min(sum, most))
        for (line, share) in zip(own, try LargestRemainder.split(amount, over: more, currency: currency)) {
            try lines[line].give(try released.take(share, currency: currency))
        }
    }
}

extension InvoicedPeriod {
    /// What promotional credit may pay of each of the period's lines: what is above zero, as far as all invoices charge
    /// something for the item. Items that depend on each other count together, so that no line below zero turns the
    /// credit of another into money.
    func payableByPromotionalCredit(
        _ lines: [InvoiceLine],
        currency: Currency
    ) throws(DecimalError) -> [Int: FixedDecimal] {
        let own = lines.indices.filter { lines[$0].key.periodIndex == index }
        let shared = own.filter { lines[$0].item.sharesIncludedCredit }
        var payable: [Int: FixedDecimal] = [:]
        func pay(for parts: [Int], before: FixedDecimal) throws(DecimalError) {
            var sum = min(before, .zero)
            var above: [FixedDecimal] = []
            for line in parts {
                sum = try sum.adding(lines[line].net)
                above.append(max(try lines[line].net, .zero))
            }
            let shares = try LargestRemainder.split(max(sum, .zero), over: above, currency: currency)
            for (line, share) in zip(parts, shares) { payable[line] = share }
        }
        for item in try items(of: lines) where !lines[item.lines[0]].item.sharesIncludedCredit {
            try pay(for: item.lines, before: try item.before?.net ?? .zero)
        }
        var before = FixedDecimal.zero
        for amount in invoiced.values where amount.item.sharesIncludedCredit { before = try before.adding(amount.net) }
        try pay(for: shared, before: before)
        return payable
    }
}

extension [InvoiceItemKey: InvoicedAmount] {
    /// Whether more promotional credit came back than was given, of an item or of those that depend on each other.
    package var givesBackTooMuch: Bool {
        get throws(DecimalError) {
            var together: [Int: [UUIDv7: FixedDecimal]] = [:]
            for (key, amount) in self {
                if amount.item.sharesIncludedCredit {
                    try together[key.periodIndex, default: [:]].add(amount.promotionalCredits)
                } else if amount.promotionalCredits.values.contains(where: \.isNegative) {
                    return true
                }
            }
            return together.values.contains { $0.values.contains(where: \.isNegative) }
        }
    }
}

extension InvoiceItem {
    /// Whether the included credit of its period pays for it, or changes it.
    var sharesIncludedCredit: Bool { isCoveredByIncludedCredit || self == .includedCredit }
}
