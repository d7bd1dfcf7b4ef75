extension InvoicedPeriod {
    /// Taxes the period's lines.
    ///
    /// What is taken back takes back the taxes it was charged with, whatever the rates are now; anything else is taxed
    /// by the rates of now. What comes to nothing has no tax left, fees in advance and the rest of the period each:
    /// what rounding would leave of it stands on the line that takes back most.
    func tax(_ lines: inout [InvoiceLine], by treatment: TaxTreatment, currency: Currency) throws(DecimalError) {
        let own = lines.indices.filter { lines[$0].key.periodIndex == index }
        for item in try items(of: lines) { try tax(item, of: &lines, by: treatment, currency: currency) }
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
        for line in own where lines[line].kind == .adjustment {
            let net = try lines[line].net
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

    /// Taxes the lines of an item. Where they undo together what it was charged, or what was given back of it, they
    /// share the taxes of then in proportion, with those of now on what goes beyond that.
    private func tax(
        _ item: InvoicedItem,
        of lines: inout [InvoiceLine],
        by treatment: TaxTreatment,
        currency: Currency
    ) throws(DecimalError) {
        var nets: [FixedDecimal] = []
        var change = FixedDecimal.zero
        for line in item.lines {
            nets.append(try lines[line].net)
            change = try change.adding(nets[nets.count - 1])
        }
        for (line, net) in zip(item.lines, nets) {
            lines[line].taxes = try treatment.taxes(on: net, currency: currency)
        }
        guard let before = item.before, try change.isNegative != before.net.isNegative, !change.isZero,
            try !before.net.isZero
        else { return }
        let undone = min(change.magnitude, try before.net.magnitude)
        let beyond = try change.magnitude.subtracting(undone)
        var taxes = try treatment.taxes(on: change.isNegative ? beyond.negated : beyond, currency: currency)
        try taxes.subtract(before.taxes(goingWith: undone, currency: currency))
        for line in item.lines { lines[line].taxes = [] }
        for tax in taxes {
            for (line, part) in zip(item.lines, try tax.amount.spread(over: nets, currency: currency)) {
                lines[line].taxes.append(LineTax(rateKey: tax.rateKey, amount: part))
            }
        }
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
