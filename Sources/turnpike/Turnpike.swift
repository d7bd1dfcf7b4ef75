import ArgumentParser

@main
struct Turnpike: AsyncParsableCommand {
    func run() async throws {}
}
