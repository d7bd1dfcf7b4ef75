import BillingCore
import Foundation
import Postgres
import TestSupport
import Testing

@testable import TurnpikeServer

/// `turnpike prices import`, as an operator runs it.
@Suite(.timeLimit(.minutes(15))) struct PricesImportTests {
    private static func table(_ input: String) -> String {
        """
        {"sample_spec": {"input_cost_per_token": 0},
         "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": \(input), "output_cost_per_token": 1e-05,
                    "input_cost_per_token_batches": 1e-06},
         "claude": {"litellm_provider": "anthropic", "input_cost_per_token": 3e-06}}
        """
    }

    @Test func itShowsWhatWouldChangeAndWritesOnRequestOnce() async throws {
        try await TestServer.run { server in
            let first = Self.table("2.5e-06")
            let shown = try await importing(first, server)
            #expect(shown.code == 0)
            #expect(shown.output.contains("new      openai gpt-4o input: 0.0000025"))
            #expect(shown.output.contains("gpt-4o input_cost_per_token_batches: a price of a service tier"))
            #expect(shown.output.contains("nothing was written"))
            #expect(try await server.column("SELECT count(*)::text FROM price_book") == ["0"])

            let start = ["--apply", "--effective-from", "2026-01-01T00:00:00Z"]
            #expect(try await importing(first, server, start).output.contains("3 new, 0 changed, 0 unchanged"))
            let again = try await importing(first, server, ["--apply"])
            #expect(again.output.contains("0 new, 0 changed, 3 unchanged"))
            #expect(try await server.column("SELECT count(*)::text FROM price_book") == ["3"])

            let changed = try await importing(Self.table("2e-06"), server, ["--apply"])
            #expect(changed.output.contains("changed  openai gpt-4o input: 0.0000025 -> 0.000002"))
            let renamed = try await importing(first, server, ["--provider", "anthropic=*"])
            #expect(renamed.output.contains("new      * claude input: 0.000003"))
            #expect(!renamed.output.contains("gpt-4o"))
        }
    }

    @Test func refusedPricesAreNamedAndFailTheCommandHoweverQuietItIs() async throws {
        try await TestServer.run { server in
            let start = ["--apply", "--quiet", "--effective-from", "2026-01-01T00:00:00Z"]
            let first = try await importing(Self.table("2.5e-06"), server, start)
            #expect(first.code == 0)
            let refused = try await importing(Self.table("2e-06"), server, start)
            #expect(refused.code == 1)
            #expect(refused.output.contains("refused, because a price from the same time is in the book"))
            #expect(refused.output.contains("openai gpt-4o input: 0.0000025 -> 0.000002"), "\(refused.output)")
            #expect(!refused.output.contains("claude"))
        }
    }

    @Test func aTypoInAProviderAndAFileThatIsNotThereAreToldInWords() async throws {
        try await TestServer.run { server in
            let typo = try await importing(Self.table("1"), server, ["--provider", "opnai=*"])
            #expect(typo.code == 2 && typo.output.contains("no model of the provider 'opnai'; did you mean 'openai'?"))
            let missing = try await importing(nil, server)
            #expect(missing.code == 2 && missing.output.contains("prices.json' does not exist"), "\(missing.output)")
        }
    }

    @Test func whatCannotBeReadIsRefused() async throws {
        try await TestServer.run { server in
            for (text, arguments) in [
                ("[]", []), ("{", []), ("{}", []), (Self.table("1"), ["--effective-from", "soon"]),
                (Self.table("1"), ["--apply", "--dry-run"]),
            ] {
                let refused = try await importing(text, server, arguments)
                #expect(refused.code != 0, "\(text) \(arguments): \(refused.output)")
            }
            let euros = try await importing(Self.table("1"), server, ["--apply"], currency: "EUR")
            #expect(euros.code == 2 && euros.output.contains("TURNPIKE_COST_CURRENCY"))
            #expect(try await server.column("SELECT count(*)::text FROM price_book") == ["0"])
        }
    }

    @Test func theCostSettingsAreChecked() throws {
        let database = ["DATABASE_URL": "postgres://localhost/x"]
        let given = ["TURNPIKE_COST_CURRENCY": "EUR", "TURNPIKE_TRUSTED_COST_SOURCES": " litellm-proxy, gw ,"]
        let configuration = try Configuration(environment: database.merging(given) { $1 })
        #expect(configuration.costCurrency.code == "EUR")
        #expect(configuration.trustedCostSources == ["litellm-proxy", "gw"])
        #expect(throws: ConfigurationFault.self) {
            try Configuration(environment: database.merging(["TURNPIKE_COST_CURRENCY": "euro"]) { $1 })
        }
    }

    private func importing(
        _ table: String?,
        _ server: TestServer,
        _ arguments: [String] = [],
        currency: String = "USD"
    ) async throws -> (code: Int32, output: String) {
        let binary = try #require(TestTools.turnpikeBinary)
        return try await withTemporaryDirectory { directory in
            let file = directory.appendingPathComponent("prices.json")
            if let table { try Data(table.utf8).write(to: file) }
            return try await withChildProcess(
                binary,
                arguments: ["prices", "import", file.path] + arguments,
                environment: [
                    "PATH": "/usr/bin:/bin", "DATABASE_URL": server.database.url, "TURNPIKE_COST_CURRENCY": currency,
                ],
                directory: directory
            ) { child in
                (try await child.exitCode(within: .seconds(30)), await child.output())
            }
        }
    }
}
