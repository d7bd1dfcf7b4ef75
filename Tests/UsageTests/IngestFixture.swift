import Catalog
import Postgres
import Synchronization
import TestSupport
import Testing
import Web

@testable import Usage

/// A second ingest on the database of a server, which flushes only when it is told to.
struct IngestFixture: Sendable {
    let service: IngestService
    let catalog: Catalog
    private let principal: Principal

    static func use<Result>(
        _ server: TestServer,
        configure: (inout IngestLimits) -> Void = { _ in },
        _ body: (IngestFixture) async throws -> Result
    ) async throws -> Result {
        try await server.withPool { pool in
            var limits = IngestLimits()
            limits.lanes = 1
            configure(&limits)
            let catalog = Catalog(pool: pool, clock: server.clock.clock)
            try await catalog.reload()
            let service = IngestService(
                catalog: catalog,
                pool: pool,
                partitions: PartitionRegistry(),
                clock: server.clock.clock,
                ids: .random(server.clock.clock),
                limits: limits,
                logger: .silent
            )
            let principal = Principal(
                credentialID: "test",
                tenantID: nil,
                tenantKey: nil,
                scopes: .all,
                answerKey: AnswerKey(derivedFromSecret: "test")
            )
            return try await body(IngestFixture(service: service, catalog: catalog, principal: principal))
        }
    }

    /// - Returns: the report without what is zero, or the code of the refusal and the pointers of its faults.
    func send(_ events: SentEvent...) async -> String { await send(events) }

    func send(_ events: [SentEvent], isLenient: Bool = false) async -> String {
        do {
            let report = try await ingest(events, isLenient: isLenient)
            return TestResponse(status: 200, headers: [], body: report.json).report
        } catch {
            guard let problem = Problem.ofIngest(error) as? Problem else { return "\(error)" }
            return ([problem.code] + problem.errors.map(\.pointer)).joined(separator: " ")
        }
    }

    /// - Returns: what a refusal says; nil when the events were stored.
    func refusal(of events: [SentEvent]) async -> String? {
        do {
            _ = try await ingest(events, isLenient: false)
            return nil
        } catch {
            return (Problem.ofIngest(error) as? Problem)?.detail ?? "\(error)"
        }
    }

    private func ingest(_ events: [SentEvent], isLenient: Bool) async throws -> IngestReport {
        let text = "[" + events.map(\.json).joined(separator: ",") + "]"
        let batch = EventDecoder().decode(Array(text.utf8), as: .plain)
        return try await service.ingest(batch, by: principal, isLenient: isLenient)
    }

    /// Waits until so many requests wait for a flush.
    func waits(for count: Int) async throws -> Bool {
        try await eventually { service.lanes.reduce(0) { $0 + $1.waitingCount } == count }
    }

    /// Flushes until nothing waits; what was sent is then answered in its own time.
    func flush() async throws {
        let isEmpty = try await flushing { try await waits(for: 0) }
        #expect(isEmpty)
    }

    /// Flushes while the body runs, and then what still waits. Nothing can be sent afterwards.
    func flushing<Result: Sendable>(_ body: @Sendable () async throws -> Result) async throws -> Result {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [service] in try await service.run() }
            do {
                let result = try await body()
                service.lanes.forEach { $0.close() }
                try await group.waitForAll()
                return result
            } catch {
                service.lanes.forEach { $0.close() }
                throw error
            }
        }
    }
}

extension TestServer {
    /// Holds a tenant's ledger, so that nothing of its usage changes, while the body runs.
    func holdingLedger<Result: Sendable>(of tenant: String, _ body: () async throws -> Result) async throws -> Result {
        try await holding(
            """
            UPDATE tenant_ledger SET ledger_seq = ledger_seq
            WHERE tenant_id = (SELECT tenant_id FROM tenant WHERE key = \(tenant))
            """,
            body
        )
    }

    /// Holds what a statement locks while the body runs.
    func holding<Result: Sendable>(_ lock: SQL, _ body: () async throws -> Result) async throws -> Result {
        try await withPool { pool in
            let isDone = Flag()
            let (held, holding) = AsyncStream<Void>.makeStream()
            return try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await pool.transaction(.worker) { transaction in
                        #expect(try transaction.execute(lock) > 0)
                        holding.yield()
                        while !isDone.isRaised {
                            try transaction.execute("SELECT pg_sleep(0.002)")
                        }
                    }
                }
                _ = await held.first { _ in true }
                defer { isDone.raise() }
                let result = try await body()
                isDone.raise()
                try await group.waitForAll()
                return result
            }
        }
    }
}

private final class Flag: Sendable {
    private let value = Atomic(false)

    var isRaised: Bool { value.load(ordering: .acquiring) }
    func raise() { value.store(true, ordering: .releasing) }
}
