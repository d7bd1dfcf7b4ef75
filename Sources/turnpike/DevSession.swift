import Foundation
import Identity
import Logging
import Postgres
import TurnpikeServer
import UnixSignals

/// One run of `turnpike dev`: the database, the service on it, and the demo. When it ends, for whatever reason short of
/// being killed, the service has stopped and then the database.
struct DevSession {
    let workplace: DevDirectory
    let settings: Configuration
    let logger: Logger

    private enum Step: Sendable {
        case told
        case done
    }

    func run() async throws {
        let cluster = try LocalCluster(directory: workplace.databasePath)
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
        let result: Result<Void, any Error>
        do {
            result = .success(try await work(cluster, signals))
        } catch {
            result = .failure(error)
        }
        try await Self.blocking { try cluster.stop() }
        try result.get()
    }

    private func work(_ cluster: LocalCluster, _ signals: UnixSignalsSequence) async throws {
        let keys = DemoKeys(file: workplace.keysFile)
        var configuration = settings
        configuration.operatorKey = keys.operatorKey
        configuration.tokens.masterKey = try settings.tokens.masterKey ?? workplace.masterKey()
        try await Self.blocking { try cluster.start() }
        configuration.databaseURL = try cluster.url
        configuration.migrationURL = configuration.databaseURL

        try await withThrowingTaskGroup(of: Step.self) { group in
            group.addTask {
                _ = await signals.first { _ in true }
                return .told
            }
            let prepared = configuration
            group.addTask { [logger] in
                _ = try await Migrations.migrate(prepared, logger: logger)
                return .done
            }
            defer { group.cancelAll() }
            guard try await group.next() == .done else { return }
            try await serve(configuration, keys, told: &group)
        }
    }

    /// Serves until told to stop. The group already holds the task that waits to be told.
    private func serve(
        _ configuration: Configuration,
        _ keys: DemoKeys,
        told group: inout ThrowingTaskGroup<Step, any Error>
    ) async throws {
        var configuration = configuration
        // The URLs it gives of itself are made before it listens.
        if configuration.port == 0 { configuration.port = try LocalCluster.freeLoopbackPort() }
        let (ports, listening) = AsyncStream<Int>.makeStream()
        let server = Server.build(configuration, logger: logger) { listening.yield($0) }
        group.addTask {
            defer { listening.finish() }
            try await server.run()
            return .done
        }
        let result: Result<Void, any Error>
        do {
            if let port = await ports.first(where: { _ in true }) {
                try await welcome(configuration, port, keys)
                _ = try await group.next()
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await server.stop()
        while let step = try await group.next(), step == .told {}
        try result.get()
    }

    private func welcome(_ configuration: Configuration, _ port: Int, _ keys: DemoKeys) async throws {
        let url = configuration.ownURL
        try keys.write(to: workplace.keysFile, settings: [])
        let keys = try await Demo(host: configuration.reachableHost, port: port, keys: keys).prepare(keys)
        try keys.write(
            to: workplace.keysFile,
            settings: [("BASE_URL", url), ("DATABASE_URL", configuration.databaseURL)]
        )
        let welcome = DevWelcome(url: url, keys: keys, keysFile: workplace.keysFile.path)
        Terminal.write(welcome.text(isColoured: Terminal.isTerminal(STDOUT_FILENO)), to: .standardOutput)
    }

    /// Runs what blocks on a thread that may.
    private static func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Result { try body() }) }
        }
    }
}
