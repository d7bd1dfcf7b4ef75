import ArgumentParser

struct Prices: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Work with the price book: what providers charge.",
        subcommands: [PricesImport.self]
    )
}
