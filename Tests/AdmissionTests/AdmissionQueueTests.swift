import Catalog
import Logging
import Postgres
import ServiceLifecycle
import TestSupport
import Testing
import TurnpikeServer
import Usage
import Web

@testable import Admission

/// Calls that wait for their lane, and one too many of them.
@Suite(.timeLimit(.minutes(5)))
struct AdmissionQueueTests {
    /// How many calls of a tenant wait at most while no other's do.
    private static let room = 50

    @Test("a call for which the queue has no room is answered 503 at once, and those in it are decided all the same")
    func full() async throws {
        try await TestServer.run { server in
            for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
            let budget = """
                {"key":"each","scope":{"tenant":"*"},"measure":"requests","amount":"2","window":"day","mode":"hard"}
                """
            try await server.ask("POST", "/budgets", budget, expecting: 201)
            try await server.withPool { pool in
                let waiting = try await WaitingAdmission(server, pool)
                let call = try await waiting.read(server.call("1"))
                _ = try await waiting.read(server.call("1", subject: "beta"))
                try await waiting.serve { client in
                    try await withThrowingTaskGroup(of: AdmissionService.CallAnswer.self) { group in
                        for _ in 0...Self.room { group.addTask { try await waiting.decide(call) } }
                        // Nobody decides yet: who is answered is the one that found no room.
                        let answered = try await group.next()
                        #expect(answered?.name == "unavailable")
                        // Where it gets no answer, those that wait have to be decided all the same.
                        let refused = try? await client.post("/api/v1/admissions", server.call("2"))
                        #expect(refused?.status == 503 && refused?.code == "limits_unavailable")
                        #expect(refused?.header("Retry-After") == "1")
                        async let beside = client.post("/api/v1/admissions", server.call("1", subject: "beta"))
                        let services = waiting.services
                        async let running: Void = services.run()
                        var answers: [String: Int] = [:]
                        for try await answer in group { answers[answer.name, default: 0] += 1 }
                        let other = try await beside
                        await services.triggerGracefulShutdown()
                        try await running
                        #expect(answers == ["allowed": 1, "repeated": Self.room - 1])
                        #expect(other.json["allowed"] == .bool(true), "\(other)")
                    }
                }
            }
            try await server.expectRows(["0 1 0", "0 1 0"])
            #expect(try await server.unbalancedHolds() == [])
        }
    }

    @Test("the metrics tell that calls wait in a lane")
    func waitingCalls() async throws {
        try await TestServer.run(configure: { $0.admission.lanes = 1 }) { server in
            try await server.arrangeQuota("100000")
            var asked: [Task<JSONValue, any Error>] = []
            try await server.whileLocked("limit_state") {
                let isTold = try await eventually {
                    // The first ones are being decided. Metrics are the process's: others' calls count, too.
                    let id = "\(asked.count)"
                    asked.append(Task { try await server.admit(id) })
                    return try await server.counterValue("turnpike_admission_queue_calls") > 0
                }
                #expect(isTold)
            }
            for call in asked { #expect(try await call.value["allowed"] == .bool(true)) }
        }
    }
}

/// An admission beside a server's own, on its database, which decides nothing until its services run.
private struct WaitingAdmission: Sendable {
    private static let caller = Principal(
        credentialID: "test",
        tenantID: nil,
        tenantKey: nil,
        scopes: .all,
        answerKey: AnswerKey(derivedFromSecret: "test")
    )

    private let service: AdmissionService
    private let routes: AdmissionRoutes
    private let clock: TestClock

    init(_ server: TestServer, _ pool: PostgresPool) async throws {
        let clock = server.clock.clock
        let catalog = Catalog(pool: pool, clock: clock)
        try await catalog.reload()
        let ingest = IngestService(
            catalog: catalog,
            pool: pool,
            partitions: PartitionRegistry(),
            clock: clock,
            ids: .random(clock),
            limits: IngestLimits(),
            logger: .silent
        )
        var limits = AdmissionLimits()
        limits.deadlineMilliseconds = 600_000
        limits.queuedCalls = 100
        let service = AdmissionService(
            ingest: ingest,
            catalog: catalog,
            pool: pool,
            clock: clock,
            limits: limits,
            logger: .silent
        )
        self.clock = server.clock
        self.service = service
        routes = AdmissionRoutes(admission: service)
    }

    var services: ServiceGroup { ServiceGroup(configuration: .init(services: [service], logger: .silent)) }

    /// Reads a call, and what is to be known of its tenant: nothing else is read before the services run.
    func read(_ text: String) async throws -> AdmissionCall {
        let call = try Array(text.utf8).withUnsafeBytes { try AdmissionInput($0, by: Self.caller).calls[0] }
        _ = try await service.calls.prepare([(index: 0, event: call.event)], at: clock.now, boundTo: nil)
        return call
    }

    func decide(_ call: AdmissionCall) async throws -> AdmissionService.CallAnswer {
        let answers = try await service.decide(
            [call],
            by: Self.caller,
            within: service.limits.deadline.work,
            isArray: false,
            isCheck: false
        )
        return answers[0]
    }

    /// Answers admissions over HTTP while the body runs.
    func serve(_ body: (TestClient) async throws -> Void) async throws {
        let operations = Operations()
        routes.register(in: operations)
        let pipeline = RequestPipeline(
            authenticate: { _, _, _ in Self.caller },
            places: TenantPlaces(of: 4),
            clock: clock.clock,
            ids: .random(clock.clock),
            logger: .silent
        )
        let (ports, listening) = AsyncStream<Int>.makeStream()
        let configuration = HTTPServer.Configuration(host: "127.0.0.1", port: 0)
        let http = HTTPServer(operations: operations, pipeline: pipeline, configuration: configuration) {
            listening.yield($0)
        }
        let group = ServiceGroup(configuration: .init(services: [http], logger: .silent))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                defer { listening.finish() }
                try await group.run()
            }
            if let port = await ports.first(where: { _ in true }) {
                do {
                    try await body(TestClient(port: port, key: TestServer.operatorKey))
                } catch {
                    await group.triggerGracefulShutdown()
                    throw error
                }
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }
}

extension AdmissionService.CallAnswer {
    fileprivate var name: String {
        switch self {
        case .decided(.allowed, _): "allowed"
        case .decided(.repeated, _): "repeated"
        case .unavailable: "unavailable"
        default: "\(self)"
        }
    }
}
