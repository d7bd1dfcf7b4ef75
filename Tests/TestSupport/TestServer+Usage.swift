package import Postgres
import TurnpikeServer
import Usage
package import Web

/// One usage event of a test, as a gateway would send it.
package struct SentEvent: Sendable, Hashable {
    package var id: String
    package var source: String
    package var type: String
    package var subject: String
    /// Nil leaves it out.
    package var time: String?
    /// A JSON object.
    package var data: String

    package init(
        _ id: String,
        source: String = "gw",
        type: String = "job.done",
        subject: String = "acme",
        time: String? = nil,
        data: String = #"{"seconds":1}"#
    ) {
        self.id = id
        self.source = source
        self.type = type
        self.subject = subject
        self.time = time
        self.data = data
    }

    package var json: String {
        let time = time.map { #","time":"\#($0)""# } ?? ""
        return """
            {"specversion":"1.0","id":"\(id)","source":"\(source)","type":"\(type)","subject":"\(subject)"\(time),\
            "data":\(data)}
            """
    }
}

/// A billing story over HTTP: arranges a catalogue, sends usage, and asks what it comes to. Whatever isn't answered as
/// expected is thrown with the answer in it.
extension TestServer {
    /// Sends to `/api/v1` and gives the body.
    @discardableResult
    package func ask(
        _ method: String,
        _ path: String,
        _ json: String = "",
        expecting status: Int = 200,
        as client: TestClient? = nil
    ) async throws -> JSONValue {
        let body = json.isEmpty ? nil : Array(json.utf8)
        let answer = try await (client ?? operatorClient).send(method, "/api/v1\(path)", body: body)
        return try answer.expecting(status).json
    }

    /// Changes a budget and waits until all its rows have followed, which somebody else can be at when it is changed.
    package func changeBudget(_ key: String, _ patch: String) async throws {
        try await ask("PATCH", "/budgets/\(key)", patch)
        try await rowsFollowBudgets()
    }

    package func rowsFollowBudgets() async throws {
        struct RowsStayBehind: Error {}
        let follow = try await eventually {
            try await column("SELECT limit_id::text FROM budget_change").isEmpty
        }
        guard follow else { throw RowsStayBehind() }
    }

    /// Waits until open calls hold by the plans and prices that were changed: all have been gone through once.
    package func holdsFollow() async throws {
        struct HoldsStayBehind: Error {}
        let follow = try await eventually(within: .seconds(300)) {
            try await column("SELECT tenant_id::text FROM hold_change WHERE NOT is_begun").isEmpty
        }
        guard follow else { throw HoldsStayBehind() }
    }

    /// Waits until the limits of plans whose time has come are in force.
    package func plansComeIntoForce() async throws {
        struct PlansStayOutOfForce: Error {}
        let now = clock.now
        let areInForce = try await eventually {
            try await column("SELECT subscription_id::text FROM subscription WHERE limits_due_at <= \(now)").isEmpty
        }
        guard areInForce else { throw PlansStayOutOfForce() }
    }

    /// What a counter says, of everything in this process: suites run beside each other.
    package func counterValue(_ series: String) async throws -> Int {
        let text = try await anonymous.get("/metrics").text
        return text.split(separator: "\n").first { $0.hasPrefix("\(series) ") }
            .flatMap { Int($0.dropFirst(series.count + 1)) } ?? 0
    }

    package func addTenant(
        _ key: String,
        currency: String = "USD",
        zone: String = "UTC",
        subjects: [String] = []
    ) async throws {
        let names = subjects.map { "\"\($0)\"" }.joined(separator: ",")
        let body = """
            {"key":"\(key)","name":"\(key)","currency":"\(currency)","timezone":"\(zone)","subjects":[\(names)]}
            """
        try await ask("POST", "/tenants", body, expecting: 201)
    }

    /// A meter over `job.done` and a feature over all of it, both named by `key`.
    package func addFeature(
        _ key: String,
        _ aggregation: String = "sum",
        of property: String? = "seconds",
        type: String = "job.done"
    ) async throws {
        try await addMeter(key, aggregation, of: property, type: type)
        try await ask("POST", "/features", #"{"key":"\#(key)","meter":"\#(key)","unit":"unit"}"#, expecting: 201)
    }

    /// A meter that no feature has, unless one is made of it: its usage counts nowhere, and nothing is told of that.
    package func addMeter(
        _ key: String,
        _ aggregation: String = "count",
        of property: String? = nil,
        type: String = "job.done"
    ) async throws {
        let value = property.map { #","value":"\#($0)""# } ?? ""
        let meter = #"{"key":"\#(key)","event_type":"\#(type)","aggregation":"\#(aggregation)"\#(value)}"#
        try await ask("POST", "/meters", meter, expecting: 201)
    }

    /// Enters what the provider openai charges for a token of a class.
    /// - Returns: the id of the entry.
    @discardableResult
    package func price(
        _ tokenClass: String,
        _ amount: String,
        model: String = "gpt-4o",
        from start: String = "2026-01-01T00:00:00Z"
    ) async throws -> String {
        let body = """
            {"provider":"openai","model":"\(model)","token_class":"\(tokenClass)","unit_amount":"\(amount)",\
            "effective_from":"\(start)"}
            """
        return try await ask("POST", "/price-book", body, expecting: 201)["id"]?.string ?? ""
    }

    /// Publishes the next version of a plan, making the plan with the first.
    package func publish(_ version: String, as plan: String = "pro", currency: String = "USD") async throws {
        let body = #"{"key":"\#(plan)","name":"\#(plan)","currency":"\#(currency)"}"#
        let made = try await operatorClient.post("/api/v1/plans", body)
        if made.status != 409 { try made.expecting(201) }
        let draft = try await ask("POST", "/plans/\(plan)/versions", version, expecting: 201)
        let number = draft["version"]?.number ?? ""
        try await ask("POST", "/plans/\(plan)/versions/\(number)/publish")
    }

    /// - Returns: the subscription's id.
    @discardableResult
    package func subscribe(_ tenant: String = "acme", to plan: String = "pro", at start: String? = nil) async throws
        -> String
    {
        let startsAt = start.map { #","starts_at":"\#($0)""# } ?? ""
        let body = #"{"tenant":"\#(tenant)","plan":"\#(plan)"\#(startsAt)}"#
        return try await ask("POST", "/subscriptions", body, expecting: 201)["id"]?.string ?? ""
    }

    package func post(_ events: [SentEvent], as client: TestClient? = nil, lenient: Bool = false) async throws
        -> TestResponse
    {
        let body = "[" + events.map(\.json).joined(separator: ",") + "]"
        let headers = lenient ? ["Prefer": "handling=lenient"] : [:]
        return try await (client ?? operatorClient).post("/api/v1/events", body, headers: headers)
    }

    /// - Returns: the report, without what is zero: `accepted 2, duplicates 1`.
    @discardableResult
    package func ingest(_ events: SentEvent...) async throws -> String {
        try await post(events).expecting(200).report
    }

    package func void(
        _ id: String,
        source: String = "gw",
        tenant: String = "acme",
        expecting status: Int = 200
    ) async throws -> JSONValue {
        try await ask(
            "POST",
            "/events/void",
            #"{"source":"\#(source)","id":"\#(id)","tenant":"\#(tenant)","reason":"test"}"#,
            expecting: status
        )
    }

    /// What a tenant has used of a quota, by default of the feature's only one.
    package func used(_ feature: String, window: String? = nil, tenant: String = "acme") async throws -> String? {
        let query = window.map { "?window=\($0)" } ?? ""
        return try await ask("GET", "/tenants/\(tenant)/quotas/\(feature)\(query)")["used"]?.string
    }

    /// Feature, quantity and rounded amount of each usage line of the upcoming invoice: `jobs 3 = 0.30`.
    package func invoiced(_ tenant: String = "acme") async throws -> [String] {
        let invoice = try await ask("GET", "/tenants/\(tenant)/upcoming-invoice")
        return (invoice["lines"]?.elements ?? []).filter { $0["kind"]?.string == "usage" }.map { line in
            let parts = ["feature", "quantity", "amount"].map { line[$0]?.string ?? "?" }
            return "\(parts[0]) \(parts[1]) = \(parts[2])"
        }
    }

    /// What `verify` finds, in its words; empty when every counter is what the raw events give.
    package func differences() async throws -> [String] {
        try await withPool { pool in
            var found: [String] = []
            try await UsageVerification(pool: pool, clock: clock.clock, operatorZone: configuration.zone).run(
                difference: { found.append($0.description) },
                progress: { _ in }
            )
            return found
        }
    }

    /// A pool of its own on the server's database, under the service's role. On a loaded machine one that waits for a
    /// lock behind others waits long: no test is decided by that.
    package func withPool<Result>(_ body: (PostgresPool) async throws -> Result) async throws -> Result {
        var configuration = PostgresConfiguration(url: database.url)
        configuration.statementTimeoutMilliseconds = 120_000
        return try await PostgresPool.using(configuration, body)
    }

    /// The first column of every row as text.
    package func column(_ statement: SQL) async throws -> [String?] {
        try await withPool { pool in
            try await pool.query(.worker, statement) { row throws(PostgresError) in try row.next(String?.self) }
        }
    }
}

extension TestResponse {
    /// The counts of an ingest report that are not zero, in the order of the contract.
    package var report: String {
        let names = [
            "accepted", "duplicates", "conflicts", "unmatched", "unmetered", "unsubscribed", "unpriced", "unsettled",
            "rejected",
        ]
        return names.compactMap { name in
            guard let count = json[name]?.number, count != "0" else { return nil }
            return "\(name) \(count)"
        }.joined(separator: ", ")
    }

    /// Status, id and index of what was not plainly accepted: `duplicate a@1`.
    package var problems: [String] {
        (json["problems"]?.elements ?? []).map { problem in
            "\(problem["status"]?.string ?? "?") \(problem["id"]?.string ?? "?")@\(problem["index"]?.number ?? "?")"
        }
    }
}
