extension InvoicedPeriod {
    /// Taxes the period's lines.
    ///
    /// What is taken back takes back the taxes it was charged with, whatever the rates are now; anything else is taxed
    /// by the rates of now. An item gives back its own first, and one that included credit pays for then those of the
    /// others. What comes to nothing has no tax left, fees in advance and the rest of the period each: what rounding
    /// would leave of it stands on the line that takes back most.
    func tax(_ lines: inout [InvoiceLine], by treatment: TaxTreatment, currency: Currency) throws(DecimalError) {
        let own = lines.indices.filter { lines[$0].key.periodIndex == index }
        var together = TaxedTogether()
        for amount in invoiced.values where amount.item.sharesIncludedCredit && !amount.isLeftToReissue {
            try together.add(amount)
        }
        var items: [TaxedItem] = []
        for item in try self.items(of: lines) { items.append(try TaxedItem(item, of: lines, currency: currency)) }
        for item in items where item.isShared { try together.remove(item) }
        for item in items {
            try tax(item, of: &lines, by: treatment, sharing: &together, currency: currency)
        }
        for isShared in [false, true] {
            try leaveNoTax(
                of: own.filter { lines[$0].item.sharesIncludedCredit == isShared },
                invoiced.values.filter { $0.item.sharesIncludedCredit == isShared },
                in: &lines
            )
        }
    }

    private func leaveNoTax(
        of own: [Int],
        _ invoiced: [InvoicedAmount],
        in lines: inout [InvoiceLine]
    ) throws(DecimalError) {
        var largest: (line: Int, net: FixedDecimal)?
        for line in own {
            let net = try lines[line].net
            guard lines[line].kind == .adjustment || net.isNegative else { continue }
            if largest.map({ net < $0.net }) ?? true { largest = (line, net) }
        }
        guard let largest else { return }
        var net = FixedDecimal.zero
        var taxes: [String: FixedDecimal] = [:]
        for amount in invoiced {
            net = try net.adding(amount.net)
            try taxes.add(amount.taxes)
        }
        for line in own {
            net = try net.adding(lines[line].net)
            for tax in lines[line].taxes { try taxes.add([tax.rateKey: tax.amount]) }
        }
        for (rate, sum) in taxes.sorted(by: { $0.key < $1.key }) where net.isZero || (sum.isNegative && net > .zero) {
            try lines[largest.line].taxes.subtract([rate: sum])
        }
    }

    /// Taxes the lines of an item by the rates of now, but for what they undo together of earlier invoices.
    private func tax(
        _ item: TaxedItem,
        of lines: inout [InvoiceLine],
        by treatment: TaxTreatment,
        sharing together: inout TaxedTogether,
        currency: Currency
    ) throws(DecimalError) {
        let given = try item.isShared ? together.take(item.beyond.negated, currency: currency) : TaxedTogether()
        guard !item.undone.isZero || !given.net.isZero else {
            for (line, net) in zip(item.lines, item.nets) {
                lines[line].taxes = try treatment.taxes(on: net, currency: currency)
            }
            return
        }
        var taxes = try treatment.taxes(on: try item.beyond.adding(given.net), currency: currency)
        try taxes.subtract(item.taxes)
        try taxes.subtract(given.taxes)
        for line in item.lines { lines[line].taxes = [] }
        for tax in taxes {
            for (line, part) in zip(item.lines, try tax.amount.spread(over: item.nets, currency: currency)) {
                lines[line].taxes.append(LineTax(rateKey: tax.rateKey, amount: part))
            }
        }
    }
}

/// What the lines of an item undo together of what it was charged, or of what was given back of it.
private struct TaxedItem {
    let lines: [Int]
    let isShared: Bool
    /// Of each line, what is left of it after discount and credits.
    let nets: [FixedDecimal]
    /// Of what earlier invoices charged for it, after discount and credits: below zero where they gave back.
    let undone: FixedDecimal
    /// The taxes of that, by rate.
    let taxes: [String: FixedDecimal]
    /// What its lines come to beyond undoing that.
    let beyond: FixedDecimal

    init(_ item: InvoicedItem, of lines: [InvoiceLine], currency: Currency) throws(DecimalError) {
        self.lines = item.lines
        isShared = lines[item.lines[0]].item.sharesIncludedCredit
        var nets: [FixedDecimal] = []
        var change = FixedDecimal.zero
        for line in item.lines {
            nets.append(try lines[line].net)
            change = try change.adding(nets[nets.count - 1])
        }
        self.nets = nets
        let before = try item.before?.net ?? .zero
        guard let charged = item.before, change.isNegative != before.isNegative, !change.isZero, !before.isZero else {
            (undone, taxes, beyond) = (.zero, [:], change)
            return
        }
        let part = min(change.magnitude, before.magnitude)
        undone = before.isNegative ? part.negated : part
        taxes = try charged.taxes.taxes(goingWith: part, of: before.magnitude, currency: currency)
        beyond = try change.adding(undone)
    }
}

/// What those items of a period are charged, and taxed, that included credit pays for together. So an item may give
/// back more than it was charged itself, and the change of included credit what others were.
private struct TaxedTogether {
    private(set) var net = FixedDecimal.zero
    private(set) var taxes: [String: FixedDecimal] = [:]

    mutating func add(_ amount: InvoicedAmount) throws(DecimalError) {
        net = try net.adding(amount.net)
        try taxes.add(amount.taxes)
    }

    mutating func remove(_ item: TaxedItem) throws(DecimalError) {
        net = try net.subtracting(item.undone)
        try taxes.add(item.taxes.mapValues(\.negated))
    }

    /// Takes so much, with its taxes in proportion.
    /// - Returns: what there is of it.
    mutating func take(_ amount: FixedDecimal, currency: Currency) throws(DecimalError) -> TaxedTogether {
        var taken = TaxedTogether()
        guard amount > .zero, net > .zero else { return taken }
        taken.net = min(amount, net)
        taken.taxes = try taxes.taxes(goingWith: taken.net, of: net, currency: currency)
        net = try net.subtracting(taken.net)
        try taxes.add(taken.taxes.mapValues(\.negated))
        return taken
    }
}

extension [LineTax] {
    /// Takes off so much of each rate; rates that are not there yet come last, by key.
    fileprivate mutating func subtract(_ amounts: [String: FixedDecimal]) throws(DecimalError) {
        for (rate, amount) in amounts.sorted(by: { $0.key < $1.key }) {
            if let index = firstIndex(where: { $0.rateKey == rate }) {
                self[index] = LineTax(rateKey: rate, amount: try self[index].amount.subtracting(amount))
            } else {
                append(LineTax(rateKey: rate, amount: amount.negated))
            }
        }
    }
}
