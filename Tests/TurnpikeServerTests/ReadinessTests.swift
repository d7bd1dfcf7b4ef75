import Synchronization
import TestSupport
import Testing

@testable import TurnpikeServer

@Suite struct ReadinessTests {
    private struct Away: Error {}

    @Test func aFloodOfProbesAsksTheDatabaseOnce() async throws {
        let asked = Mutex(0)
        let (mayAnswer, open) = AsyncStream<Void>.makeStream()
        let readiness = Readiness {
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

    @Test func theAnswerIsAskedAfreshAfterASecondWhateverItWas() async throws {
        let asked = Mutex(0)
        let readiness = Readiness {
            guard
                asked.withLock({
                    $0 += 1; return $0
                }) > 1
            else { throw Away() }
        }
        for _ in 0..<5 { await #expect(throws: Away.self) { try await readiness.check() } }
        #expect(asked.withLock { $0 } == 1)
        #expect(try await eventually { (try? await readiness.check()) != nil })
        #expect(asked.withLock { $0 } == 2)
    }
}
