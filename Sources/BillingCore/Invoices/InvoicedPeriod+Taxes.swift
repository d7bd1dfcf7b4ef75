extension InvoicedPeriod {
    /// Taxes the period's lines.
    ///
    /// What is taken back takes back the taxes it was charged with, whatever the rates are now; anything else is taxed
    /// by the rates of now. A period that comes to nothing has no tax left: what rounding would leave of it stands on
    /// the line that takes back most.
    func tax(_ lines: inout [InvoiceLine], by treatment: TaxTreatment, currency: Currency) throws(DecimalError) {
        let own = lines.indices.filter { lines[$0].key.periodIndex == index }
        for line in own {
            lines[line].taxes = try taxes(of: lines[line], by: treatment, currency: currency)
        }
        var largest: (line: Int, net: FixedDecimal)?
        for line in own where lines[line].kind == .adjustment {
            let net = try lines[line].net
            if largest.map({ net < $0.net }) ?? true { largest = (line, net) }
        }
        guard let largest else { return }
        var net = FixedDecimal.zero
        var taxes: [String: FixedDecimal] = [:]
        for amount in invoiced.values {
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

    private func taxes(
        of line: InvoiceLine,
        by treatment: TaxTreatment,
        currency: Currency
    ) throws(DecimalError) -> [LineTax] {
        let net = try line.net
        guard net.isNegative, let before = invoiced[line.key], try before.net > .zero else {
            return try treatment.taxes(on: net, currency: currency)
        }
        let back = min(net.magnitude, try before.net)
        var taxes = try treatment.taxes(on: net.adding(back), currency: currency)
        try taxes.subtract(before.taxes(goingBackWith: back, currency: currency))
        return taxes
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
