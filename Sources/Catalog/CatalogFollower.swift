import BillingCore
package import Logging
package import Postgres
import ServiceLifecycle

/// Keeps this replica's read model near the database: it hears of changes by `LISTEN`, and asks for versions in turn in
/// case a notification got lost. What it still misses costs ingest a repeated transaction, never a wrong result.
package struct CatalogFollower: Service {
    /// How many cached tenants are compared in each round of asking.
    private static let pageCount = 5_000

    private let catalog: Catalog
    private let listener: PostgresListener?
    private let interval: Duration
    private let reconnected: @Sendable () -> Void
    private let logger: Logger

    /// - Parameters:
    ///   - configuration: where to listen; nil only asks.
    ///   - interval: the time between two rounds of asking.
    ///   - reconnected: what else is to be done where the database may not be the one that it was.
    package init(
        catalog: Catalog,
        listeningWith configuration: PostgresConfiguration?,
        interval: Duration = .seconds(5),
        reconnected: @escaping @Sendable () -> Void = {},
        logger: Logger
    ) {
        self.catalog = catalog
        listener = configuration.map { PostgresListener($0, channels: [CatalogNotification.channel]) }
        self.interval = interval
        self.reconnected = reconnected
        self.logger = logger
    }

    package func run() async throws {
        let (wishes, reload) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    await attempt("cannot listen; versions are still compared") { try await listen(reload) }
                }
                group.addTask { await reloadCatalog(wishes) }
                group.addTask { await ask() }
                await group.waitForAll()
            }
        }
    }

    private func listen(_ reload: AsyncStream<Void>.Continuation) async throws {
        guard let listener else { return }
        for try await notice in listener { follow(notice, reload) }
    }

    /// Wishes that come meanwhile are fulfilled together.
    private func reloadCatalog(_ wishes: AsyncStream<Void>) async {
        for await _ in wishes where !Task.isCancelled {
            await attempt("the catalogue could not be read") { try await catalog.reload(lane: .worker) }
        }
    }

    /// - Parameter reload: where it is wished that the catalogue is read again; a changed tenant doesn't wait for that.
    func follow(_ notice: PostgresNotice, _ reload: AsyncStream<Void>.Continuation) {
        switch notice {
        case .notification(_, let payload):
            follow(payload, reload)
        case .reconnected:
            catalog.invalidateAllTenants()
            reconnected()
            reload.yield()
            logger.debug("listening for a changed catalogue")
        case .overflowed:
            catalog.forgetAllTenants()
            reload.yield()
            logger.warning("more changes of the catalogue were announced than could be followed; all is read again")
        }
    }

    private func follow(_ payload: String, _ reload: AsyncStream<Void>.Continuation) {
        switch CatalogNotification(payload: payload) {
        case .catalog:
            reload.yield()
        case .tenant(let id):
            catalog.invalidate(tenant: id)
        case nil:
            logger.warning("unknown notification", metadata: ["payload": "\(payload)"])
        }
    }

    private func ask() async {
        var position = 0
        while !Task.isCancelled {
            do {
                try await Task.sleep(for: interval)
            } catch {
                return
            }
            await attempt("versions could not be compared") {
                position = try await catalog.dropStale(from: position, limit: Self.pageCount)
            }
        }
    }

    /// A failure is logged; the next notification or round makes good for it.
    private func attempt(_ failure: Logger.Message, _ work: () async throws -> Void) async {
        do {
            try await work()
        } catch is CancellationError {
            logger.debug("catalogue follower is stopping")
        } catch {
            logger.warning(failure, metadata: ["error": "\(error)"])
        }
    }
}
