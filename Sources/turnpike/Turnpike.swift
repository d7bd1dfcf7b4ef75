import ArgumentParser
import TurnpikeServer

@main
struct Turnpike: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "turnpike",
        abstract: "Usage metering, quotas and billing on PostgreSQL.",
        version: Version.text,
        subcommands: [Serve.self, Migrate.self, Dev.self, Verify.self, ClosePeriods.self, Prices.self, Token.self]
    )
}
