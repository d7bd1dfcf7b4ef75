import BillingCore
import Testing

/// The worked examples that `docs/rules.md` shows to users.
@Suite struct RulesExamplesTests {
    private let examples: RulesExamples

    init() throws { examples = try RulesExamples.load() }

    private func decimal(_ text: String) throws -> FixedDecimal { try FixedDecimal(parsing: text) }

    private func interval(_ bounds: [String]) throws -> Interval {
        try Interval(start: Instant(parsing: #require(bounds.first)), end: Instant(parsing: #require(bounds.last)))
    }

    private func price(_ name: String) throws -> Price {
        try #require(examples.priceLists[name]).price()
    }

    @Test func `numbers`() throws {
        let errors: [DecimalError: String] = [.malformed: "malformed", .outOfRange: "out of range"]
        for example in examples.numbers {
            do throws(DecimalError) {
                let value = try FixedDecimal(parsing: example.text)
                #expect(value.description == example.value, "\(example.name)")
            } catch {
                #expect(errors[error] == example.error, "\(example.name)")
            }
        }
    }

    @Test func `rounding`() throws {
        for example in examples.rounding {
            let exact = try decimal(example.quantity).multiplied(by: decimal(example.unitAmount))
            #expect(exact.description == example.exact, "\(example.name)")
            let money = try Money(rounding: exact, #require(Currency(example.currency)))
            #expect(money.formatted == example.amount, "\(example.name)")
        }
    }

    @Test func `instants`() throws {
        for example in examples.instants {
            do throws(InstantError) {
                let instant = try Instant(parsing: example.text)
                #expect(instant.description == example.instant, "\(example.name)")
            } catch {
                #expect(error.description == example.error, "\(example.name)")
            }
        }
    }

    @Test func `windows`() throws {
        for example in examples.windows {
            let windows = try CalendarWindows(zone: #require(Zone(identifier: example.zone)))
            let kind = try #require(WindowKind(rawValue: example.kind))
            let window = try windows.window(kind, containing: Instant(parsing: example.instant))
            #expect(try window == interval([example.start, example.end]), "\(example.name)")
        }
    }

    @Test func `uses of limits`() throws {
        for example in examples.limitUses {
            let balance = LimitBalance(
                used: try decimal(example.used),
                held: try decimal(example.held),
                amount: try decimal(example.amount)
            )
            let use = WindowUse(
                balance,
                in: try interval(example.window),
                countedFrom: try Instant(parsing: example.countedFrom)
            )
            #expect(balance.remaining.description == example.remaining, "\(example.name)")
            #expect(use.percent?.description ?? "none" == example.percent, "\(example.name)")
            let projected = try use.projected(at: Instant(parsing: example.at))
            #expect(projected?.description ?? "none" == example.projected, "\(example.name)")
        }
    }

    @Test func `billing periods`() throws {
        for example in examples.periods {
            let periods = try BillingPeriods(
                anchor: Instant(parsing: example.anchor),
                zone: #require(Zone(identifier: example.zone)),
                months: example.months
            )
            let starts = example.starts.indices.map { periods.interval($0).start }
            #expect(try starts == example.starts.map { try Instant(parsing: $0) }, "\(example.name)")
        }
    }

    @Test func `charges`() throws {
        for example in examples.charges {
            let price = try price(example.price)
            let quantity = try decimal(example.quantity)
            #expect(
                try price.charge(quantity: quantity, eventCount: 1).description == example.charge,
                "\(example.name)"
            )
            let tiers = try price.breakdown(of: UsageTotal(quantity: quantity, eventCount: 1))
            #expect(tiers.map(\.amount.description) == example.tiers, "\(example.name)")
        }
    }

    @Test func `percentages`() throws {
        for example in examples.percentages {
            let price = try price(example.price)
            let total = UsageTotal(quantity: try decimal(example.quantity), eventCount: example.events)
            #expect(try price.charge(for: total).description == example.charge, "\(example.name)")
            let parts = try price.breakdown(of: total).map(\.amount.description)
            #expect(parts == example.parts, "\(example.name)")
        }
    }

    @Test func `cost plus`() throws {
        for example in examples.costPlus {
            let total = UsageTotal(quantity: .one, eventCount: 1, cost: try decimal(example.cost))
            #expect(try price(example.price).charge(for: total).description == example.charge, "\(example.name)")
        }
    }

    @Test func `matrices`() throws {
        for example in examples.matrices {
            let list = try #require(examples.priceLists[example.price])
            let (matrix, price) = (try list.matrix(), try list.price())
            var sum = ExactAmount.zero
            let cells = try example.usage.map { usage in
                let words = usage.split(separator: " ").map(String.init)
                let cell = matrix.cell(words.dropLast())
                let charge = try #require(price.price(ofCell: cell.text)).charge(
                    quantity: try decimal(#require(words.last)),
                    eventCount: 1
                )
                sum = try sum.adding(charge)
                return charge.description
            }
            #expect(cells == example.cells, "\(example.name)")
            #expect(sum.description == example.charge, "\(example.name)")
        }
    }

    @Test func `marginal charges`() throws {
        for example in examples.marginals {
            let price = try price(example.price)
            let totals = try example.totals.map { UsageTotal(quantity: try decimal($0), eventCount: 1) }
            let marginals = try zip(totals, totals.dropFirst()).map { try price.marginalCharge(from: $0, to: $1) }
            #expect(marginals.map(\.description) == example.marginals, "\(example.name)")
        }
    }

    @Test func `proration`() throws {
        for example in examples.proration {
            let proration = try Proration(of: interval(example.period), within: interval(example.active))
            let exact = try proration.amount(of: decimal(example.fee))
            #expect(exact.description == example.exact, "\(example.name)")
            let money = try Money(rounding: exact, #require(Currency(example.currency)))
            #expect(money.formatted == example.amount, "\(example.name)")
        }
    }

    @Test func `plan changes`() throws {
        let accumulations: [String: UsageAccumulation] = ["sum": .sum, "max": .maximum, "latest": .latest]
        for example in examples.planChanges {
            let charges = try SegmentCharges.charges(
                of: example.quantities.map { UsageTotal(quantity: try decimal($0), eventCount: 1) },
                prices: example.prices.map { try price($0) },
                by: #require(accumulations[example.aggregation])
            )
            #expect(charges.map(\.description) == example.charges, "\(example.name)")
        }
    }

    @Test func `trials`() throws {
        for example in examples.trials {
            let zone = try #require(Zone(identifier: example.zone))
            let anchor = try zone.instant(Instant(parsing: example.start), addingDays: example.days)
            #expect(try anchor == Instant(parsing: example.anchor), "\(example.name)")
        }
    }

    @Test func `credit notes`() throws {
        for example in examples.creditNotes {
            let currency = try #require(Currency(example.currency))
            var (left, tax) = (try decimal(example.total), try decimal(example.tax))
            let taxes = try example.parts.map { part in
                let line = CreditableLine(number: 1, left: left, taxes: [LineTax(rateKey: "vat", amount: tax)])
                let note = try CreditNote(amount: decimal(part), of: [line], left: left, currency: currency)
                left = try left.subtracting(note.amount)
                tax = try tax.subtracting(note.tax)
                return Money(note.tax, currency).formatted
            }
            #expect(taxes == example.taxes, "\(example.name)")
            #expect(left.isZero && tax.isZero, "\(example.name)")
        }
    }

    @Test func `token classes`() throws {
        for example in examples.tokenClasses {
            do throws(TokenClassFault) {
                let classes = try TokenClasses(
                    input: example.input,
                    cachedInput: example.cachedInput,
                    cacheWrite: example.cacheWrite,
                    output: example.output,
                    reasoning: example.reasoning
                )
                let values = [
                    classes.uncachedInput, classes.cachedInput, classes.cacheWrite, classes.plainOutput,
                    classes.reasoning,
                ]
                #expect(values == example.classes, "\(example.name)")
            } catch {
                #expect(error.field.rawValue == example.fault, "\(example.name)")
            }
        }
    }

    @Test func `the document shows every example with all its values in one row`() throws {
        let rows = try RulesExamples.document().split(separator: "\n").filter {
            $0.starts(with: /\| `[a-z0-9]+(-[a-z0-9]+)+` \|/)
        }
        let examples = try RulesExamples.plain()
        #expect(examples.count == rows.count)
        for example in examples {
            let name = try #require(example["name"] as? String)
            let row = try #require(rows.first { $0.hasPrefix("| `\(name)` |") }, "\(name)")
            for value in example.values {
                for part in value as? [Any] ?? [value] {
                    #expect(row.contains("\(part)"), "\(name) lacks \(part)")
                }
            }
        }
    }
}
