import Dispatch
import TestSupport
import Testing

@testable import Identity

@Suite struct LookupThreadsTests {
    private let threads = LookupThreads(limit: 16)
    private let end = DispatchSemaphore(value: 0)

    /// Asks for a lookup that hangs until `end` is signalled.
    /// - Returns: whether it began.
    private func hang(_ owner: String) async -> Bool {
        let (decisions, decision) = AsyncStream.makeStream(of: Bool.self)
        Task {
            let ended: Bool? = await threads.run(for: owner) {
                decision.yield(true)
                end.wait()
                return true
            }
            if ended == nil { decision.yield(false) }
        }
        for await hasBegun in decisions { return hasBegun }
        return false
    }

    @Test func whatHangsOfAFewLeavesRoomForTheNextAndLessForEachOfMore() async throws {
        var begun: [Int] = []
        for owner in ["a", "b", "c", "d", "e", "f"] {
            var count = 0
            while await hang(owner) { count += 1 }
            begun.append(count)
        }
        #expect(begun == [8, 4, 2, 1, 1, 0])
        end.signal()
        #expect(try await eventually { await hang("f") }, "one that has ended makes room")
        for _ in 1...16 { end.signal() }
        #expect(try await eventually { await threads.run(for: "a") { 7 } == 7 }, "what is found is handed over")
    }
}
