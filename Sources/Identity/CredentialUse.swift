import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle
import Synchronization
package import Web

/// When API keys were used last, gathered in memory and written in one statement a minute: a request costs no write.
final class CredentialUse: Sendable {
    struct Key: Hashable, Sendable {
        let tenantID: TenantID
        let id: String
    }

    private let uses = Mutex<[Key: Instant]>([:])

    func note(_ key: Key, at now: Instant) {
        uses.withLock { $0[key] = max($0[key] ?? now, now) }
    }

    /// Takes what has gathered.
    func take() -> [Key: Instant] {
        uses.withLock { uses in
            defer { uses = [:] }
            return uses
        }
    }

    /// Gives back what could not be written.
    func put(back taken: [Key: Instant]) {
        for (key, instant) in taken { note(key, at: instant) }
    }
}

/// Writes `last_used_at`. Each replica writes what it has seen; the later time stays.
package struct CredentialUseWorker: Service {
    private let use: CredentialUse
    private let pool: PostgresPool
    private let loop: WorkerLoop
    private let logger: Logger

    package init(
        _ authentication: Authentication,
        pool: PostgresPool,
        clock: Clock,
        logger: Logger,
        interval: Duration = .seconds(60)
    ) {
        use = authentication.use
        self.pool = pool
        self.logger = logger
        loop = WorkerLoop("credential_use", every: interval, clock: clock, logger: logger)
    }

    package func run() async throws {
        await loop.run { try await flush() }
        do {
            try await flush()
        } catch {
            logger.warning("the last use of API keys was not written", metadata: ["error": "\(error)"])
        }
    }

    /// Writes what has gathered since the last time.
    package func flush() async throws {
        let taken = use.take()
        guard !taken.isEmpty else { return }
        do {
            try await APIKeyStore.setLastUsed(taken, pool: pool)
        } catch {
            use.put(back: taken)
            throw error
        }
    }
}
