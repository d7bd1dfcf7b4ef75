import BillingCore
import Foundation
import Invoicing
import Postgres
import TestSupport
import Testing
import Web

@testable import TurnpikeServer

/// The settings by which stored data is made or judged: a service keeps them, and commands beside it go by them.
@Suite(.timeLimit(.minutes(15))) struct ServiceSettingTests {
    private static let seller = InvoiceSeller(name: "Toll Ltd", lines: ["1 Toll Road", "VAT IE1"])

    @Test func aStartKeepsThemAndWarnsOfThoseThatDiffer() async throws {
        try await TestDatabase.with { database in
            let first = try await started(on: database) { $0.seller = Self.seller }
            let kept: [String?] = [
                "TURNPIKE_COST_CURRENCY=USD 1", "TURNPIKE_INVOICE_GRACE_HOURS=24 1",
                "TURNPIKE_SELLER_DETAILS=1 Toll Road; VAT IE1 1", "TURNPIKE_SELLER_NAME=Toll Ltd 1",
                "TURNPIKE_TIMEZONE=UTC 1",
            ]
            #expect(first.rows == kept && first.warned == [])
            let again = try await started(on: database) { $0.seller = Self.seller }
            #expect(again.rows == kept && again.warned == [])
            let other = try await started(on: database) { $0.invoiceGrace = InvoiceGrace(hours: 2) }
            #expect(
                other.rows == [
                    "TURNPIKE_COST_CURRENCY=USD 1", "TURNPIKE_INVOICE_GRACE_HOURS=2 2", "TURNPIKE_SELLER_DETAILS= 2",
                    "TURNPIKE_SELLER_NAME= 2", "TURNPIKE_TIMEZONE=UTC 1",
                ]
            )
            let names = ["TURNPIKE_INVOICE_GRACE_HOURS", "TURNPIKE_SELLER_DETAILS", "TURNPIKE_SELLER_NAME"]
            #expect(other.warned == names)
        }
    }

    @Test func aCommandGoesByItsEnvironmentThenByTheServiceThenByDefaults() async throws {
        try await TestDatabase.with { database in
            let alone = try await configuration(on: database)
            #expect(alone.seller == nil && alone.invoiceGrace == InvoiceGrace(hours: 24))
            #expect(alone.zone.identifier == "UTC" && alone.costCurrency == .usd)
            _ = try await started(on: database) { service in
                service.seller = Self.seller
                service.invoiceGrace = InvoiceGrace(hours: 0)
                service.zone = Self.tokyo
                service.costCurrency = Self.euro
            }
            let beside = try await configuration(on: database, ["TURNPIKE_SELLER_NAME": ""])
            #expect(beside.seller == Self.seller && beside.invoiceGrace == InvoiceGrace(hours: 0))
            #expect(beside.zone.identifier == "Asia/Tokyo" && beside.costCurrency == Self.euro)
            let own = try await configuration(
                on: database,
                ["TURNPIKE_SELLER_NAME": "Bridge Ltd", "TURNPIKE_INVOICE_GRACE_HOURS": "24"]
            )
            #expect(own.seller == InvoiceSeller(name: "Bridge Ltd") && own.invoiceGrace == InvoiceGrace(hours: 24))
            #expect(own.zone.identifier == "Asia/Tokyo")
        }
    }

    @Test func closePeriodsFinalisesWithTheSellerAndTheGraceOfTheService() async throws {
        try await TestServer.run(clock: TestClock("2025-11-05T00:00:00Z")) { configuration in
            configuration.seller = Self.seller
            configuration.invoiceGrace = InvoiceGrace(hours: 0)
        } _: { server in
            try await server.addTenant("acme")
            try await server.publish(
                #"{"fees":[{"key":"base","name":"Base","amount":"10","charged":"in_advance"}]}"#
            )
            try await server.subscribe(at: "2025-11-01T00:00:00Z")
            let run = try await server.turnpike(["close-periods"])
            #expect(run.code == 0, "\(run.output)")
            #expect(try await server.column("SELECT invoice_id::text FROM invoice WHERE status = 'draft'") == [])
            let sellers = try await server.column(
                "SELECT DISTINCT facts -> 'seller' ->> 'name' FROM invoice_document"
            )
            #expect(sellers == ["Toll Ltd"])
        }
    }

    @Test func verifyJudgesBudgetsOverAllTenantsInTheZoneOfTheService() async throws {
        try await TestServer.run(clock: TestClock("2026-11-23T16:00:00Z")) { configuration in
            configuration.zone = Self.tokyo
        } _: { server in
            try await server.addTenant("acme")
            try await server.addFeature("seconds", type: "chat")
            let budget = #"{"key":"all","scope":{"model":"gpt-4o*"},"measure":"requests","amount":"9","window":"day"}"#
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            let call = #"{"provider":"openai","model":"gpt-4o","input_tokens":1,"output_tokens":1,"seconds":1}"#
            try await server.ingest(SentEvent("1", type: "chat", data: call))
            let beside = try await server.turnpike(["verify"])
            #expect(beside.code == 0, "\(beside.output)")
            let elsewhere = try await server.turnpike(["verify"], settings: ["TURNPIKE_TIMEZONE": "UTC"])
            #expect(elsewhere.code == 1, "\(elsewhere.output)")
        }
    }

    @Test func pricesAreImportedInTheCurrencyOfTheService() async throws {
        try await TestServer.run {
            $0.costCurrency = Self.euro
        } _: { server in
            try await withTemporaryDirectory { directory in
                let file = directory.appendingPathComponent("prices.json")
                let table = #"{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06}}"#
                try Data(table.utf8).write(to: file)
                let beside = try await server.turnpike(["prices", "import", file.path])
                #expect(beside.code == 2 && beside.output.contains("TURNPIKE_COST_CURRENCY is EUR"))
                let own = try await server.turnpike(
                    ["prices", "import", file.path],
                    settings: ["TURNPIKE_COST_CURRENCY": "USD"]
                )
                #expect(own.code == 0, "\(own.output)")
            }
        }
    }

    private static var tokyo: Zone { Zone(identifier: "Asia/Tokyo") ?? .utc }
    private static var euro: Currency { Currency("EUR") ?? .usd }

    /// Each row with its revision, and the names of which a start has warned.
    private func started(
        on database: TestDatabase,
        _ configure: (inout Configuration) -> Void
    ) async throws -> (rows: [String?], warned: [String]) {
        try await TestServer.run(on: database, configure: configure) { server in
            let rows = try await server.column(
                "SELECT name || '=' || value || ' ' || revision FROM service_setting ORDER BY name"
            )
            let records = try server.log.lines.map { try JSONValue(parsing: $0) }
            let warned = records.flatMap { $0["settings"]?.elements ?? [] }
            return (rows: rows, warned: warned.compactMap { $0.string })
        }
    }

    private func configuration(
        on database: TestDatabase,
        _ settings: [String: String] = [:]
    ) async throws -> Configuration {
        let environment = ["DATABASE_URL": database.url].merging(settings) { $1 }
        return try await CommandSettings(environment: environment, databaseURL: nil)
            .withDatabase(logger: .silent) { _, configuration in configuration }
    }
}
