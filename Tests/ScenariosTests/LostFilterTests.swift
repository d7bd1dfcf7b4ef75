import Foundation
import TestSupport
import Testing
import TurnpikeServer
import Web

/// The second wall over HTTP: a tenant's credential learns nothing of another tenant even from a service
/// that has lost any one of its own conditions on the tenant.
@Suite(.timeLimit(.minutes(15)))
struct LostFilterTests {
    private struct Attempt {
        let request: IntrusionAttempt
        let answer: String
        let statements: Set<String>
    }

    @Test("whichever single condition on the tenant is taken out of a statement, every answer stays as it is")
    func wallHoldsWithoutAnyOneFilter() async throws {
        try await Self.runBehindTap { server, tap in
            let pair = try await TwoTenants.make(server)
            let requests = try Self.requests(server, pair)
            for request in requests { _ = try await request.send(pair.alpha.client) }
            tap.restore()
            // A worker drafts the tenants' invoices meanwhile; before that their lists are not what they stay.
            let areDrafted = try await eventually(within: .seconds(120)) {
                for side in [pair.alpha, pair.bravo] {
                    let drafts = try await Self.settled { try await side.client.get("/api/v1/invoices?status=draft") }
                    if drafts.json["data"]?.elements?.isEmpty != false { return false }
                }
                return true
            }
            #expect(areDrafted)
            var attempts: [Attempt] = []
            for request in requests {
                _ = tap.takeStatements()
                let answer = try await Self.answer(request, pair)
                attempts.append(Attempt(request: request, answer: answer, statements: tap.takeStatements()))
            }
            let filters = Set(attempts.flatMap { $0.statements.flatMap(StatementTap.filters) })
                .sorted { "\($0)" < "\($1)" }
            var tried = 0
            for filter in filters {
                tap.rewrite(filter.statement, as: filter.remainder)
                for attempt in attempts where attempt.statements.contains(filter.statement) {
                    let answer = try await Self.answer(attempt.request, pair)
                    #expect(answer == attempt.answer, "\(attempt.request) without \(filter)")
                    tried += 1
                }
            }
            #expect(filters.count > 15)
            print("lost filters: \(filters.count) conditions taken out one at a time, \(tried) requests")
        }
    }

    /// The comparison of the path's tenant with the credential's is undone by a credential that takes its tenant for
    /// another of the name.
    @Test("a credential that is mistaken in its tenant's key still reads nothing of the tenant of that key")
    func wallHoldsWithoutThePathsFilter() async throws {
        try await Self.runBehindTap { server, tap in
            let pair = try await TwoTenants.make(server)
            _ = tap.takeStatements()
            tap.restore()
            let unknown = try await server.client([.auditRead], tenant: "alpha")
            _ = try await Self.settled { try await unknown.get("/api/v1/audit-log") }.expecting(200)
            let naming = try #require(
                tap.takeStatements().first { $0.contains("FROM subject_directory LEFT JOIN tenant") }
            )
            tap.rewrite(naming, as: naming.replacing("SELECT subject,", with: "SELECT 'bravo'::text,"))
            server.clock.advance(seconds: 10)
            let before = try await Self.events(of: pair.bravo)
            var tried = 0
            for request in try Self.requests(server, pair) {
                let answer = try await Self.settled { try await request.send(pair.alpha.client) }
                let told = answer.text.replacing("'bravo'", with: "").replacing("/bravo", with: "")
                let secrets = pair.bravo.names.secrets.filter { told.contains($0) && !request.path.contains($0) }
                #expect(secrets == [], "\(request): \(answer)")
                let isRefused = request.operation.id == "admit" && !answer.text.contains(#""allowed":true"#)
                let mayHaveActed = answer.status < 400 && "\(request.operation.method)" != "GET" && !isRefused
                #expect(!mayHaveActed || request.operation.id == "ingestEvents", "\(request): \(answer)")
                tried += 1
            }
            tap.restore()
            #expect(try await Self.events(of: pair.bravo) == before)
            print("lost comparison of the path: \(tried) requests")
        }
    }

    /// The control: where row-level security does not stand behind it, a lost filter is felt.
    @Test("an operator's list without its condition on the tenant shows every tenant's rows")
    func aLostFilterIsFelt() async throws {
        try await Self.runBehindTap { server, tap in
            let pair = try await TwoTenants.make(server)
            tap.restore()
            _ = tap.takeStatements()
            let path = "/api/v1/events?tenant=alpha"
            let narrow = try await Self.settled { try await server.operatorClient.get(path) }.expecting(200)
            #expect(pair.bravo.names.marks.filter { narrow.text.contains($0) } == [])
            let list = try #require(
                tap.takeStatements().first { $0.contains("FROM usage_event") && !StatementTap.filters(of: $0).isEmpty }
            )
            tap.rewrite(list, as: StatementTap.filters(of: list)[0].remainder)
            let wide = try await Self.settled { try await server.operatorClient.get(path) }.expecting(200)
            #expect(wide.text.contains(pair.bravo.names.tenant))
        }
    }

    private static func events(of side: TwoTenants.Side) async throws -> String {
        try await settled { try await side.client.get("/api/v1/events") }.expecting(200).text
    }

    private static func runBehindTap(_ body: (TestServer, StatementTap) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            var url = try #require(URLComponents(string: database.url))
            let port = try #require(url.port)
            try await StatementTap.run(before: port) { tap in
                url.port = tap.port
                let throughTap = try #require(url.string)
                try await TestServer.run(on: database) { configuration in
                    configuration.databaseURL = throughTap
                } _: { server in
                    try await body(server, tap)
                }
            }
        }
    }

    /// Everything by which alpha might reach bravo's things, and alpha's reading of its own.
    private static func requests(_ server: TestServer, _ pair: TwoTenants) throws -> [IntrusionAttempt] {
        server.operations.filter { $0.access != .open }.flatMap { operation in
            let foreign = IntrusionAttempt.all(of: operation, naming: pair.bravo.names, by: pair.alpha.names) ?? []
            guard "\(operation.method)" == "GET", !foreign.isEmpty || operation.id.hasPrefix("list") else {
                return foreign
            }
            let path = IntrusionAttempt.path(of: operation, naming: pair.alpha.names)
            return foreign + [IntrusionAttempt(operation: operation, path: path)]
        }
    }

    /// Without when a key was used last, which a worker writes once a minute.
    private static func answer(_ request: IntrusionAttempt, _ pair: TwoTenants) async throws -> String {
        try await settled { try await request.send(pair.alpha.client) }.visible
            .replacing(#/"last_used_at":(null|"[^"]*")/#, with: #""last_used_at":"#)
    }

    /// Repeats while the connections are being made anew.
    private static func settled(_ send: () async throws -> TestResponse) async throws -> TestResponse {
        var answer = try await send()
        _ = try await eventually(within: .seconds(60)) {
            if answer.status == 503 { answer = try await send() }
            return answer.status != 503
        }
        return answer
    }
}
