import BillingCore
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Web

/// The HTTP side alone, with operations of the test's own, a key for everything and one for each tenant: no database.
struct WebHarness {
    let port: Int
    let log: TestLog
    private let group: ServiceGroup

    var client: TestClient { TestClient(port: port, key: "everything") }

    func client(ofTenant id: Int) -> TestClient { TestClient(port: port, key: "tenant-\(id)") }

    static func run(
        readTimeoutSeconds: Int = 30,
        writeTimeoutSeconds: Int = 60,
        places: Int = 1_000,
        configure: (inout HTTPServer.Configuration) -> Void = { _ in },
        register: (Operations) -> Void,
        _ body: (WebHarness) async throws -> Void
    ) async throws {
        let log = TestLog()
        let logger = log.logger(level: .debug)
        let operations = Operations()
        register(operations)
        let clock = TestClock()
        let pipeline = RequestPipeline(
            authenticate: { presented, _, _ in
                guard case .bearer(let key) = presented else { throw Problem.unauthenticated("no") }
                let tenant = key.hasPrefix("tenant-") ? Int64(key.dropFirst(7)) : nil
                guard tenant != nil || key == "everything" else { throw Problem.unauthenticated("no") }
                return Principal(
                    credentialID: "key:test",
                    tenantID: tenant.map(TenantID.init(rawValue:)),
                    tenantKey: tenant.map { "tenant-\($0)" },
                    scopes: .all,
                    answerKey: AnswerKey(derivedFromSecret: key)
                )
            },
            places: TenantPlaces(of: places),
            clock: clock.clock,
            ids: .random(clock.clock),
            logger: logger
        )
        var configuration = HTTPServer.Configuration(host: "127.0.0.1", port: 0)
        configuration.readTimeoutSeconds = readTimeoutSeconds
        configuration.writeTimeoutSeconds = writeTimeoutSeconds
        configure(&configuration)
        let (ports, listening) = AsyncStream<Int>.makeStream()
        let server = HTTPServer(operations: operations, pipeline: pipeline, configuration: configuration) {
            listening.yield($0)
        }
        let group = ServiceGroup(configuration: .init(services: [server], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            if let port = await ports.first(where: { _ in true }) {
                do {
                    try await body(WebHarness(port: port, log: log, group: group))
                } catch {
                    await group.triggerGracefulShutdown()
                    throw error
                }
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    func stop() async {
        await group.triggerGracefulShutdown()
    }
}

/// Opens once; whoever waits before goes on then.
final class Gate: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() {
        (stream, continuation) = AsyncStream<Void>.makeStream()
    }

    func open() { continuation.finish() }

    func wait() async {
        for await _ in stream {}
    }
}
