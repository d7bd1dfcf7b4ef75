import BillingCore
import Logging
import TurnpikeServer
import UnixSignals

/// One run of `turnpike serve`: it migrates, and answers requests until it is told to end.
///
/// Signals are trapped from the start, because the first process of a container has no other way of hearing them.
/// SIGTERM and SIGINT end it gracefully, also while it migrates. SIGHUP never does: what can be read again is.
struct ServeSession {
    let configuration: Configuration
    let logger: Logger

    private enum Step: Sendable {
        case told
        case done
    }

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        // What comes while it ends is trapped, too.
        defer { withExtendedLifetime(signals) {} }
        let server = Server.build(configuration, logger: logger) { tell(port: $0) }
        try await withThrowingTaskGroup(of: Step.self) { group in
            group.addTask {
                for await signal in signals {
                    guard signal == .sighup else { break }
                    server.readAgain()
                }
                return .told
            }
            defer { group.cancelAll() }
            if configuration.migratesOnStart {
                group.addTask {
                    try await migrate()
                    return .done
                }
                guard try await group.next() == .done else {
                    logger.notice("told to end while migrating; the migration under way is rolled back")
                    return
                }
            }
            group.addTask {
                try await server.run()
                return .done
            }
            guard try await group.next() == .told else { return }
            await server.stop()
            do {
                _ = try await group.next()
            } catch {
                // It was told to end before it had begun, or could not end as it should: either way it has ended.
                logger.error("ended with an error after it was told to", metadata: ["error": "\(error)"])
            }
        }
    }

    private func migrate() async throws {
        let applied = try await Migrations.migrate(configuration, toleratingNewer: true, logger: logger)
        logger.info("migrated", metadata: ["applied": .array(applied.map { .string($0) })])
    }

    private func tell(port: Int) {
        logger.info(
            "listening",
            metadata: [
                "host": .string(configuration.host), "port": "\(port)", "time_zone_data": .string(Zone.dataVersion),
            ]
        )
    }
}
