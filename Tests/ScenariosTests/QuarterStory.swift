import BillingCore
import Foundation
import TestSupport
import Testing
import Web

/// The story of `quarter/story.json`, played over HTTP in the order of its times.
struct QuarterStory {
    private let story: JSONValue
    let ledger: [QuarterInvoice]

    /// Where the service is started anew: it then closes what is due, before the story goes on. It drafts a month's
    /// invoices on the first day of the next, and finalises them a day later.
    static let phases = [
        "2027-01-01T12:00:00Z", "2027-01-02T12:00:00Z", "2027-02-01T12:00:00Z", "2027-02-02T12:00:00Z",
        "2027-03-01T12:00:00Z", "2027-03-02T12:00:00Z", "2027-04-01T12:00:00Z", "2027-04-02T12:00:00Z",
        "2027-04-03T12:00:00Z",
    ]

    init(folder: URL) throws {
        func read(_ name: String) throws -> JSONValue {
            try JSONValue(parsing: String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8))
        }
        story = try read("story.json")
        ledger = try #require(try read("ledger.json").elements).map(QuarterInvoice.init(ledger:))
    }

    /// How many invoices of the ledger are drafted at a time, and how many of them final: a day after a subscription's
    /// start or a period's end.
    func invoices(dueBy now: Instant) -> (drafted: Int, final: Int) {
        func count(_ end: Instant) -> Int { ledger.filter { $0.finalAt <= end.description }.count }
        return (count(now.adding(seconds: 86_400)), count(now))
    }

    // MARK: - Given

    func arrange(_ server: TestServer) async throws {
        for price in elements("prices") { try await server.ask("POST", "/price-book", price.text, expecting: 201) }
        for (path, body) in Self.catalogue { try await server.ask("POST", path, body, expecting: 201) }
        for plan in elements("plans") {
            let (key, currency) = (text(plan, "key"), text(plan, "currency"))
            let body = #"{"key": "\#(key)", "name": "\#(key)", "currency": "\#(currency)"}"#
            try await server.ask("POST", "/plans", body, expecting: 201)
            try await server.ask("POST", "/plans/\(key)/versions", plan["version"]?.text ?? "", expecting: 201)
            try await server.ask("POST", "/plans/\(key)/versions/1/publish")
        }
        for tenant in elements("tenants") {
            let key = text(tenant, "key")
            let billing = story["billing"]?[key].map { #", "billing": \#($0.text)"# } ?? ""
            let body = """
                {"key": "\(key)", "name": "\(key)", "currency": "\(text(tenant, "currency"))",
                 "timezone": "\(text(tenant, "timezone"))"\(billing)}
                """
            try await server.ask("POST", "/tenants", body, expecting: 201)
            let subscription = """
                {"tenant": "\(key)", "plan": "\(text(tenant, "plan"))", "version": 1,
                 "starts_at": "\(text(tenant, "starts_at"))"}
                """
            try await server.ask("POST", "/subscriptions", subscription, expecting: 201)
        }
        for discount in elements("discounts") {
            try await server.ask(
                "POST",
                "/tenants/\(text(discount, "tenant"))/discounts",
                body(discount),
                expecting: 201
            )
        }
    }

    private static let catalogue: [(String, String)] = {
        let meters = [
            #"{"key": "units", "event_type": "usage", "aggregation": "sum", "value": "units"}"#,
            #"{"key": "payments", "event_type": "payment", "aggregation": "sum", "value": "amount"}"#,
            #"{"key": "seats", "event_type": "seat", "aggregation": "unique_count", "value": "seat"}"#,
            #"{"key": "calls", "event_type": "llm", "aggregation": "count"}"#,
            """
            {"key": "tokens", "event_type": "llm", "aggregation": "sum", "class_dimension": "token_class",
             "value": {"input": "input_tokens", "output": "output_tokens"}, "dimensions": {"model": "model"}}
            """,
        ]
        let features = ["units", "payments", "seats", "calls", "tokens"].map { key in
            #"{"key": "\#(key)", "name": "\#(key)", "meter": "\#(key)", "unit": "unit"}"#
        }
        return meters.map { ("/meters", $0) } + features.map { ("/features", $0) }
    }()

    // MARK: - When

    private struct Step {
        let time: Instant
        let play: (TestServer) async throws -> Void
    }

    /// Plays what happens from the clock's time on until another.
    func play(until end: String, _ server: TestServer) async throws {
        let end = try Instant(parsing: end)
        for step in try steps() where step.time >= server.clock.clock.now() && step.time < end {
            server.clock.set(step.time)
            try await step.play(server)
        }
        server.clock.set(end)
    }

    private func steps() throws -> [Step] {
        var steps: [Step] = []
        for event in elements("events") {
            let time = try Instant(parsing: event["sent"]?.string ?? text(event, "time"))
            let body = """
                {"id": "\(text(event, "id"))", "source": "quarter", "type": "\(text(event, "type"))",
                 "subject": "\(text(event, "tenant"))", "time": "\(text(event, "time"))",
                 "data": \(event["data"]?.text ?? "{}")}
                """
            steps.append(Step(time: time) { try await $0.ask("POST", "/events", body) })
        }
        for grant in elements("credit_grants") {
            steps.append(
                Step(time: try Instant(parsing: text(grant, "at"))) { server in
                    let path = "/tenants/\(text(grant, "tenant"))/credit-grants"
                    try await server.ask("POST", path, body(grant), expecting: 201)
                }
            )
        }
        let change = try #require(story["change"])
        steps.append(
            Step(time: try Instant(parsing: text(change, "at"))) { server in
                let found = try await server.ask("GET", "/subscriptions?tenant=\(text(change, "tenant"))")
                let id = try #require(found["data"]?.elements?.first?["id"]?.string)
                let body = #"{"plan": "\#(text(change, "plan"))", "version": 1, "at": "now"}"#
                try await server.ask("POST", "/subscriptions/\(id)/change", body)
            }
        )
        let note = try #require(story["credit_note"])
        steps.append(
            Step(time: try Instant(parsing: text(note, "at"))) { server in
                let id = try await invoiceOfNote(server)
                let body = #"{"amount": "\#(text(note, "amount"))", "reason": "goodwill"}"#
                try await server.ask("POST", "/invoices/\(id)/credit-notes", body, expecting: 201)
            }
        )
        return steps.sorted { $0.time < $1.time }
    }

    // MARK: - Then

    func expectCreditNote(_ server: TestServer) async throws {
        let note = try #require(story["credit_note"])
        let notes = try await server.ask("GET", "/invoices/\(try await invoiceOfNote(server))/credit-notes")
        let totals = notes["data"]?.elements?.compactMap { $0["total"]?.string }
        #expect(totals == [text(note, "amount")])
    }

    private func invoiceOfNote(_ server: TestServer) async throws -> String {
        let note = try #require(story["credit_note"])
        let list = try await server.ask("GET", "/invoices?tenant=\(text(note, "tenant"))&limit=100")
        let invoice = list["data"]?.elements?.first { $0["period"]?["start"]?.string == text(note, "period_start") }
        return try #require(invoice?["id"]?.string)
    }

    private func elements(_ name: String) -> [JSONValue] { story[name]?.elements ?? [] }

    private func text(_ value: JSONValue, _ name: String) -> String { value[name]?.string ?? "" }

    /// A part of the story as a request body: without what is the story's own.
    private func body(_ value: JSONValue) -> String {
        guard case .object(let members) = value else { return value.text }
        return JSONValue.object(members.filter { !["tenant", "at"].contains($0.name) }).text
    }
}

/// An invoice as ledger and export both tell it. Lines without an amount are left out.
struct QuarterInvoice: Equatable {
    let name: String
    let periodStart: String
    /// Empty where the export tells it.
    let finalAt: String
    /// What each line is, and its amount.
    let lines: [String]
    let amounts: [String: String]

    static func == (left: Self, right: Self) -> Bool {
        (left.name, left.lines, left.amounts) == (right.name, right.lines, right.amounts)
    }

    private static let totals = [
        "subtotal", "discount", "credits", "tax", "total", "carried_forward", "paid_by_credit", "amount_due",
    ]

    init(ledger: JSONValue) {
        self.init(
            ledger,
            kind: ledger["kind"]?.string ?? "",
            periodStart: ledger["period_start"]?.string ?? "",
            finalAt: ledger["final_at"]?.string ?? "",
            lines: (ledger["lines"]?.elements ?? []).map { line in
                (line.elements ?? []).compactMap(\.string).joined(separator: " ")
            }
        )
    }

    init(exported: JSONValue) {
        let lines = (exported["lines"]?.elements ?? []).compactMap { line -> String? in
            guard let amount = line["amount"]?.string, let item = line["item"]?.string,
                let value = try? FixedDecimal(parsing: amount), !value.isZero
            else { return nil }
            let kind = item.hasPrefix("fee") ? "fee" : item
            let key = ["fee", "usage"].contains(kind) ? line["key"]?.string : nil
            return [kind, key, Self.cell(line["cell"]), amount].compactMap { $0 }.joined(separator: " ")
        }
        self.init(
            exported,
            kind: exported["invoice_kind"]?.string ?? "",
            periodStart: exported["period"]?["start"]?.string ?? "",
            finalAt: "",
            lines: lines
        )
    }

    private init(_ value: JSONValue, kind: String, periodStart: String, finalAt: String, lines: [String]) {
        name = "\(value["tenant"]?.string ?? "") \(kind) \(periodStart)"
        self.periodStart = periodStart
        self.finalAt = finalAt
        self.lines = lines.sorted()
        amounts = Dictionary(uniqueKeysWithValues: Self.totals.map { ($0, value[$0]?.string ?? "missing") })
    }

    private static func cell(_ value: JSONValue?) -> String? {
        guard case .object(let members)? = value, !members.isEmpty else { return nil }
        let pairs = members.sorted { $0.name < $1.name }.map { #""\#($0.name)":"\#($0.value.string ?? "")""# }
        return "{\(pairs.joined(separator: ","))}"
    }
}
