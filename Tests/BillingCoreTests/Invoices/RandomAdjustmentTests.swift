import BillingCore
import TestSupport
import Testing

/// What holds over all invoices of a subscription, however often its usage, its credits, its discounts and its taxes
/// change in between: a regular invoice, then adjustments and voids, by a seed. Between two books other tests go on.
@Suite struct RandomAdjustmentTests {
    @Test(arguments: [Currency.usd, .jpy, .kwd])
    func `credits conserve, no credit turns into money, and nothing below zero is left`(_ currency: Currency)
        async throws
    {
        for seed in 0..<200 {
            await Task.yield()
            var book = try RandomBook(seed: UInt64(seed) &* 31 &+ UInt64(currency.minorUnits), currency: currency)
            for step in 0..<8 {
                try book.step(discounts: true, voids: true)
                try check(book, "seed \(seed), step \(step)")
            }
        }
    }

    @Test(arguments: [Currency.usd, .jpy, .kwd])
    func `credit notes in between take nothing back that went back before, and nothing goes back after them twice`(
        _ currency: Currency
    ) async throws {
        for seed in 0..<100 {
            await Task.yield()
            var book = try RandomBook(seed: UInt64(seed) &* 43 &+ UInt64(currency.minorUnits), currency: currency)
            for step in 0..<8 {
                try book.step(discounts: true, voids: true)
                try check(book, "seed \(seed), step \(step)")
                for _ in 0..<2 { try book.note() }
                try check(book, "seed \(seed), notes of step \(step)")
            }
        }
    }

    @Test(arguments: [Currency.usd, .jpy, .kwd])
    func `a period that comes to nothing after credit notes has given back exactly what it charged`(
        _ currency: Currency
    ) async throws {
        for seed in 0..<200 {
            await Task.yield()
            var book = try RandomBook(seed: UInt64(seed) &* 47 &+ UInt64(currency.minorUnits), currency: currency)
            for _ in 0..<4 {
                try book.step(discounts: true, voids: false)
                try book.note()
            }
            try book.empty()
            let charged = try book.charged(0)
            let comment = Comment(rawValue: "seed \(seed)")
            #expect(charged.chargeable.isZero && charged.promotional.isEmpty && charged.noted.isEmpty, comment)
            #expect(charged.taxes.isEmpty, comment)
            try check(book, comment)
        }
    }

    @Test(arguments: [Currency.usd, .jpy, .kwd])
    func `without discounts, all invoices together charge what one would, whatever credits paid for it`(
        _ currency: Currency
    ) async throws {
        for seed in 0..<200 {
            await Task.yield()
            var book = try RandomBook(seed: UInt64(seed) &* 37 &+ UInt64(currency.minorUnits), currency: currency)
            for step in 0..<8 {
                try book.step(discounts: false, voids: true)
                let charged = try book.charged(0)
                let fresh = try book.fresh()
                #expect(charged.chargeable == fresh.chargeable, "seed \(seed), step \(step)")
                if case .unchanged(let tax) = book.taxes {
                    // Each line may be off by a rounding, and each share of a tax that went back.
                    let off = try charged.tax.subtracting(try fresh.tax(on: charged, by: tax)).magnitude
                    #expect(try off <= book.tolerance(charged.lines), "seed \(seed), step \(step): \(off)")
                }
            }
        }
    }

    @Test(arguments: [Currency.usd, .jpy, .kwd])
    func `a period that comes to nothing gives everything back: money, taxes and credits`(_ currency: Currency)
        async throws
    {
        for seed in 0..<200 {
            await Task.yield()
            var book = try RandomBook(seed: UInt64(seed) &* 41 &+ UInt64(currency.minorUnits), currency: currency)
            for _ in 0..<4 { try book.step(discounts: true, voids: false) }
            try book.empty()
            let charged = try book.charged(0)
            let comment = Comment(rawValue: "seed \(seed)")
            #expect(charged.chargeable.isZero && charged.promotional.isEmpty, comment)
            #expect(charged.taxes.isEmpty, comment)
            try check(book, comment)
        }
    }

    private func check(_ book: RandomBook, _ comment: Comment) throws {
        for (id, grant) in book.grants {
            var applied = FixedDecimal.zero
            for entry in book.standing { applied = try applied.adding(entry.changes[id] ?? .zero) }
            #expect(try grant.remaining.adding(applied) == grant.amount, comment)
            #expect(!grant.remaining.isNegative && grant.remaining <= grant.amount, comment)
        }
        for entry in book.standing {
            var parts: [UUIDv7: FixedDecimal] = [:]
            for line in entry.invoice.lines {
                var sum = FixedDecimal.zero
                for part in line.promotionalCredits.values { sum = try sum.adding(part) }
                #expect(sum == line.promotionalCredit, comment)
                try parts.add(line.promotionalCredits)
                if line.amount.isNegative { #expect(try line.net <= .zero, comment) }
            }
            #expect(parts == entry.changes.filter { book.grants[$0.key]?.kind == .promotional }, comment)
            let totals = entry.invoice.totals
            #expect(!totals.due.isNegative && !totals.carriedForward.isNegative, comment)
        }
        guard !book.isOutOfOrder else { return }
        var money = FixedDecimal.zero
        for entry in book.standing {
            money = try money.adding(entry.invoice.totals.total).subtracting(entry.invoice.totals.carriedForward)
        }
        for note in book.notes { money = try money.subtracting(note.line.amount) }
        #expect(!money.isNegative, comment)
        for index in 0...1 {
            let charged = try book.charged(index)
            #expect(charged.promotional.values.allSatisfy { $0 > .zero }, comment)
            #expect(charged.noted.values.allSatisfy { $0 > .zero }, comment)
            // Of what was taxed by several treatments a credit note may take a part with more tax or with less.
            var off = FixedDecimal.zero
            if !book.notes.isEmpty {
                guard case .unchanged = book.taxes else { continue }
                off = try book.tolerance(charged.lines + book.notes.count)
            }
            #expect(try charged.promotionalSum.adding(charged.notedSum) <= charged.chargeable.adding(off), comment)
            #expect(charged.taxes.values.allSatisfy { $0 >= off.negated }, comment)
        }
    }
}

/// A subscription's invoices as they come, with what the tenant has of credit.
struct RandomBook {
    enum Taxes {
        case unchanged(TaxTreatment)
        case changing
    }

    struct Grant {
        let kind: AvailableCredit.Kind
        let amount: FixedDecimal
        var remaining: FixedDecimal
        var isExpired: Bool
    }

    struct Entry {
        let invoice: Invoice
        let changes: [UUIDv7: FixedDecimal]
        /// The prepaid credit that it made.
        let owed: UUIDv7?
        var isVoid = false
    }

    /// What invoices that stand charge for a period.
    struct Charged {
        var chargeable = FixedDecimal.zero
        var promotional: [UUIDv7: FixedDecimal] = [:]
        /// What credit notes gave back, less what went with lines that took something back.
        var noted: [UUIDv7: FixedDecimal] = [:]
        var taxes: [String: FixedDecimal] = [:]
        var lines = 0

        var promotionalSum: FixedDecimal { get throws { try Self.sum(promotional.values) } }
        var notedSum: FixedDecimal { get throws { try Self.sum(noted.values) } }
        var tax: FixedDecimal { get throws { try Self.sum(taxes.values) } }

        /// The tax of what another charges after its promotional credit.
        func tax(on other: Charged, by treatment: TaxTreatment) throws -> FixedDecimal {
            let net = try other.chargeable.subtracting(other.promotionalSum)
            var sum = FixedDecimal.zero
            var whole = FixedDecimal(100)
            if treatment.isInclusive {
                for rate in treatment.dueRates { whole = try whole.adding(rate.percent) }
            }
            for rate in treatment.dueRates {
                let exact = try net.multiplied(by: rate.percent).multiplied(
                    byNumerator: 10_000,
                    denominator: Int64(whole.unscaled / 100_000_000)
                )
                sum = try sum.adding(exact.rounded(toDigits: 6))
            }
            return sum
        }

        private static func sum(_ amounts: some Sequence<FixedDecimal>) throws -> FixedDecimal {
            var sum = FixedDecimal.zero
            for amount in amounts { sum = try sum.adding(amount) }
            return sum
        }
    }

    /// What a credit note took back of one line of an invoice.
    struct Note {
        let id: UUIDv7
        let entry: Int
        let key: InvoiceItemKey
        let line: CreditedLine

        /// Without its tax, unless prices contain it.
        func net(_ treatment: TaxTreatment) throws -> FixedDecimal {
            treatment.isInclusive ? line.amount : try line.amount.subtracting(line.tax)
        }
    }

    let taxes: Taxes
    private(set) var notes: [Note] = []
    /// An invoice was voided while later ones stood that took back what it had charged: until usage changes again, what
    /// the reissue charges may be below that by a discount of its own.
    private(set) var isOutOfOrder = false
    private(set) var grants: [UUIDv7: Grant] = [:]
    private(set) var entries: [Entry] = []
    private var random: RandomInvoice
    private var story: RandomInvoice.Story
    private var generator: SeededGenerator
    private var granted: UInt64 = 0
    private let currency: Currency

    init(seed: UInt64, currency: Currency) throws {
        random = RandomInvoice(seed: seed, currency: currency)
        story = try random.story()
        generator = SeededGenerator(seed: seed ^ 0xB00C)
        self.currency = currency
        taxes = Bool.random(using: &generator) ? .unchanged(story.tax) : .changing
    }

    var standing: [Entry] { entries.filter { !$0.isVoid } }

    /// Something changes, and an invoice says so.
    mutating func step(discounts: Bool, voids: Bool) throws {
        try grant()
        for id in grants.keys.sorted() where below(8) == 0 { grants[id]?.isExpired = true }
        if voids, below(4) == 0 { try void() }
        if case .changing = taxes, below(2) == 0 {
            let other = try random.story().tax
            story.tax = TaxTreatment(
                rates: other.rates,
                isInclusive: story.tax.isInclusive,
                isReverseCharge: other.isReverseCharge
            )
        }
        story.discounts = discounts ? try random.story().discounts : []
        if below(3) > 0 { story.segments = try random.segments() }
        try issue()
    }

    /// Nothing is charged for the period any more.
    mutating func empty() throws {
        story.discounts = try random.story().discounts
        story.segments = [InvoicedSegment(active: .allTime)]
        try issue()
    }

    /// What the invoices that stand charge for a period.
    func charged(_ index: Int) throws -> Charged {
        var charged = try Self.charged(standing.flatMap(\.invoice.lines), index)
        for note in notes where note.key.periodIndex == index {
            try charged.noted.add([note.id: note.net(story.tax)])
            for tax in note.line.taxes { try charged.taxes.add([tax.rateKey: tax.amount.negated]) }
        }
        return charged
    }

    /// A credit note takes back a part of a line, if there is one of which something is left: of it, of its item, and
    /// of all that depends on it.
    mutating func note() throws {
        let invoiced = try invoiced
        var open: [(entry: Int, line: InvoiceLine)] = []
        for (index, entry) in entries.enumerated() where !entry.isVoid {
            for line in entry.invoice.lines where try line.net > .zero { open.append((index, line)) }
        }
        guard let (entry, line) = open.randomElement(using: &generator), let item = invoiced[line.key] else { return }
        var own = InvoicedAmount(amount: try line.net, discounted: try line.net, item: line.item)
        for tax in line.taxes { try own.taxes.add([tax.rateKey: tax.amount]) }
        for note in notes where note.entry == entry && note.key == line.key { try own.take(note, story.tax) }
        var (together, isShared) = (InvoicedAmount(amount: .zero, discounted: .zero, item: line.item), false)
        if case .fee(let fee) = line.item { isShared = fee.charged == .inArrears } else { isShared = true }
        for (key, amount) in invoiced where key.periodIndex == line.key.periodIndex {
            if case .fee(let fee) = amount.item, fee.charged == .inAdvance { continue }
            together.discounted = try together.discounted.adding(amount.chargedNet)
            try together.taxes.add(amount.taxes)
        }
        var most = try min(own.gross(story.tax), item.gross(story.tax))
        if isShared { most = try min(most, together.gross(story.tax)) }
        guard most > .zero else { return }
        let rates = line.taxes.map { tax in
            let bounds = [own.taxes, item.taxes] + (isShared ? [together.taxes] : [])
            return LineTax(
                rateKey: tax.rateKey,
                amount: max(bounds.map { $0[tax.rateKey] ?? .zero }.min() ?? .zero, .zero)
            )
        }
        let digits = FixedDecimal.fractionalDigits - currency.minorUnits
        let unit = (0..<digits).reduce(Int128(1)) { unit, _ in unit * 10 }
        let units = Int64(clamping: most.unscaled / unit)
        let part = below(3) == 0 ? units : Int64.random(in: 1...units, using: &generator)
        let amount = try FixedDecimal(validating: Int128(part) * unit)
        let left = CreditableLine(number: 1, left: most, taxes: rates)
        let credit = try CreditNote(parts: [(1, amount)], of: [left], left: most, currency: currency)
        notes.append(Note(id: nextID(), entry: entry, key: line.key, line: credit.lines[0]))
    }

    private var invoiced: [InvoiceItemKey: InvoicedAmount] {
        get throws {
            var invoiced: [InvoiceItemKey: InvoicedAmount] = [:]
            for line in standing.flatMap(\.invoice.lines) { try invoiced.add(line) }
            for note in notes { try invoiced[note.key]?.take(note, story.tax) }
            return invoiced
        }
    }

    /// What one invoice would charge for period 0.
    func fresh() throws -> Charged {
        var story = story
        story.credits = []
        story.discounts = []
        return try Self.charged(story.invoice().lines, 0)
    }

    /// How far so many roundings may be off.
    func tolerance(_ lines: Int) throws -> FixedDecimal {
        try FixedDecimal(parsing: "\(2 * lines + 2)e-\(currency.minorUnits)")
    }

    private static func charged(_ lines: [InvoiceLine], _ index: Int) throws -> Charged {
        var charged = Charged()
        for line in lines where line.key.periodIndex == index {
            charged.chargeable = try charged.chargeable.adding(line.net).adding(line.promotionalCredit)
            for amount in line.creditedBefore.values { charged.chargeable = try charged.chargeable.adding(amount) }
            try charged.promotional.add(line.promotionalCredits)
            try charged.noted.add(line.creditedBefore)
            for tax in line.taxes { try charged.taxes.add([tax.rateKey: tax.amount]) }
            charged.lines += max(1, line.taxes.count)
        }
        return charged
    }

    private mutating func nextID() -> UUIDv7 {
        granted += 1
        return UUIDv7(high: 0x7000, low: granted)
    }

    private mutating func grant() throws {
        for credit in try random.story().credits.prefix(2) {
            let id = nextID()
            grants[id] = Grant(
                kind: credit.kind,
                amount: credit.remaining,
                remaining: credit.remaining,
                isExpired: false
            )
        }
    }

    /// The regular invoice where none stands, else an adjustment.
    private mutating func issue() throws {
        let invoiced = try invoiced
        let isRegular = !standing.contains { $0.invoice.kind == .regular }
        story.credits = grants.sorted { $0.key < $1.key }.filter { !$0.value.isExpired }.map { id, grant in
            AvailableCredit(
                id: id,
                kind: grant.kind,
                priority: 0,
                expiresAt: nil,
                createdAt: Instant(microseconds: 0),
                remaining: grant.remaining
            )
        }
        let invoice = try story.next(isRegular ? .regular : .adjustment, invoiced)
        var changes: [UUIDv7: FixedDecimal] = [:]
        for use in invoice.credits { try changes.add([use.id: use.amount]) }
        for use in invoice.returned { try changes.add([use.id: use.amount.negated]) }
        for (id, change) in changes { try take(change, from: id) }
        var owed: UUIDv7?
        let carried = invoice.totals.carriedForward
        if carried > .zero {
            let id = nextID()
            grants[id] = Grant(kind: .prepaid, amount: carried, remaining: carried, isExpired: false)
            owed = id
        }
        entries.append(Entry(invoice: invoice, changes: changes, owed: owed))
    }

    private mutating func take(_ change: FixedDecimal, from id: UUIDv7) throws {
        guard let remaining = grants[id]?.remaining else { return }
        grants[id]?.remaining = try remaining.subtracting(change)
    }

    /// Voids an invoice that may be: nothing that it gave is spent, and nothing that it used came back since.
    private mutating func void() throws {
        let open = entries.indices.filter { index in
            !entries[index].isVoid && !notes.contains { $0.entry == index }
        }
        guard let index = open.randomElement(using: &generator) else { return }
        let entry = entries[index]
        if let owed = entry.owed, let grant = grants[owed], grant.remaining != grant.amount { return }
        for (id, change) in entry.changes {
            guard let remaining = try grants[id]?.remaining.adding(change), !remaining.isNegative else { return }
        }
        entries[index].isVoid = true
        if try invoiced.givesBackTooMuch {
            entries[index].isVoid = false
            return
        }
        for (id, change) in entry.changes { try take(change.negated, from: id) }
        if entries[(index + 1)...].contains(where: { !$0.isVoid }) { isOutOfOrder = true }
        if let owed = entry.owed { grants[owed] = nil }
    }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &generator) }
}

extension InvoicedAmount {
    fileprivate mutating func take(_ note: RandomBook.Note, _ treatment: TaxTreatment) throws {
        try creditNotes.add([note.id: note.net(treatment)])
        for tax in note.line.taxes { try taxes.add([tax.rateKey: tax.amount.negated]) }
    }

    /// After all credits and credit notes.
    fileprivate var chargedNet: FixedDecimal {
        get throws {
            var net = try discounted.subtracting(includedCredit)
            for credit in promotionalCredits.values { net = try net.subtracting(credit) }
            for note in creditNotes.values { net = try net.subtracting(note) }
            return net
        }
    }

    /// The same with its taxes.
    fileprivate func gross(_ treatment: TaxTreatment) throws -> FixedDecimal {
        var gross = try chargedNet
        if !treatment.isInclusive { for tax in taxes.values { gross = try gross.adding(tax) } }
        return gross
    }
}

extension RandomInvoice.Story {
    func next(_ kind: Invoice.Kind, _ invoiced: [InvoiceItemKey: InvoicedAmount]) throws -> Invoice {
        func period(_ index: Int, _ interval: Interval, _ scope: InvoicedPeriod.Scope) -> InvoicedPeriod {
            InvoicedPeriod(
                index: index,
                interval: interval,
                scope: scope,
                segments: segments,
                invoiced: invoiced.filter { $0.key.periodIndex == index }
            )
        }
        return try Invoice(
            kind: kind,
            period: Self.period,
            periods: kind == .regular
                ? [period(0, Self.period, .whole), period(1, Self.next, .advanceFees)]
                : [period(0, Self.period, .again)],
            discounts: discounts,
            credits: credits,
            tax: tax,
            currency: currency
        )
    }
}
