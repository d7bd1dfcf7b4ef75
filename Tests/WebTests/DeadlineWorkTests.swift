import Synchronization
import Testing
import Web

@Suite struct DeadlineWorkTests {
    private final class Begun: Sendable {
        let count = Atomic(0)
    }

    /// Runs the work's service for as long as the body lasts.
    private func running(_ body: (DeadlineWork) async throws -> Void) async throws {
        let work = DeadlineWork()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await work.run() }
            try await body(work)
            group.cancelAll()
        }
    }

    @Test func whatComesInTimeIsTheAnswerAndAnErrorTooAndOtherwiseItIsTooLate() async throws {
        struct Broken: Error {}
        try await running { work in
            let answer = try await work.result(by: .now + .seconds(30)) { 7 }
            #expect(answer == 7)
            await #expect(throws: Broken.self) {
                try await work.result(by: .now + .seconds(30)) { throw Broken() }
            }
            let gate = Gate()
            await #expect(throws: DeadlineFault.self) {
                try await work.result(by: .now + .milliseconds(10)) { await gate.wait() }
            }
            gate.open()
        }
    }

    /// What nobody waits for any more is under way until the database answers.
    @Test func beyondAThousandUnderWayNothingIsBegun() async throws {
        try await running { work in
            let gate = Gate()
            let begun = Begun()
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<1_000 {
                    group.addTask {
                        try? await work.result(by: .now + .milliseconds(10)) {
                            begun.count.add(1, ordering: .relaxed)
                            await gate.wait()
                        }
                    }
                }
            }
            for _ in 0..<3_000 where begun.count.load(ordering: .relaxed) < 1_000 {
                try await Task.sleep(for: .milliseconds(10))
            }
            await #expect(throws: DeadlineFault.self) {
                try await work.result(by: .now + .seconds(30)) { begun.count.add(1, ordering: .relaxed) }
            }
            #expect(begun.count.load(ordering: .relaxed) == 1_000)
            gate.open()
            var answer: Int?
            for _ in 0..<1_000 where answer == nil {
                answer = try? await work.result(by: .now + .seconds(30)) { 7 }
                if answer == nil { try await Task.sleep(for: .milliseconds(10)) }
            }
            #expect(answer == 7)
        }
    }
}
