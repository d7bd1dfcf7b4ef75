import Synchronization
import TestSupport
import Testing
import Web

@testable import TurnpikeServer

@Suite struct ReadinessTests {
    private struct Away: Error {}

    @Test func aFloodOfProbesAsksTheDatabaseOnce() async throws {
        let asked = Mutex(0)
        let (mayAnswer, open) = AsyncStream<Void>.makeStream()
        let readiness = Readiness(validity: .seconds(3_600)) {
            asked.withLock { $0 += 1 }
            for await _ in mayAnswer {}
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 { group.addTask { try await readiness.check() } }
            #expect(try await eventually { asked.withLock { $0 } == 1 })
            open.finish()
            try await group.waitForAll()
        }
        for _ in 0..<20 { try await readiness.check() }
        #expect(asked.withLock { $0 } == 1)
    }

    @Test func whoAsksADatabaseThatDoesNotAnswerIsToldSoInTime() async throws {
        let asked = Mutex(0)
        let (mayAnswer, open) = AsyncStream<Void>.makeStream()
        let readiness = Readiness(patience: .milliseconds(20)) {
            asked.withLock { $0 += 1 }
            for await _ in mayAnswer {}
        }
        for _ in 0..<3 {
            let problem = await #expect(throws: Problem.self) { try await readiness.check() }
            #expect(problem?.code == "not_ready")
        }
        #expect(asked.withLock { $0 } == 1, "it is being asked still")
        open.finish()
        #expect(try await eventually { (try? await readiness.check()) != nil })
    }

    @Test func theAnswerIsAskedAfreshWhenItHasAgedWhateverItWas() async throws {
        let asked = Mutex(0)
        let readiness = Readiness(validity: .milliseconds(1)) {
            asked.withLock { $0 += 1 }
            if asked.withLock({ $0 }) == 1 { throw Away() }
        }
        await #expect(throws: Away.self) { try await readiness.check() }
        #expect(asked.withLock { $0 } == 1)
        #expect(try await eventually { (try? await readiness.check()) != nil })
        #expect(asked.withLock { $0 } >= 2)
    }
}
