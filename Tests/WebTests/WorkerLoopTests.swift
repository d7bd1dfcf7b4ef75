import BillingCore
import Logging
import Synchronization
import TestSupport
import Testing
import Web

@Suite struct WorkerLoopTests {
    @Test func aRoundThatFailsIsRepeatedAndOnlySuccessIsTold() async throws {
        let name = "test_\(UInt64.random(in: 0 ... .max))"
        let registry = PrometheusRegistry.process
        let clock = TestClock()
        let log = TestLog()
        let rounds = Atomic<Int>(0)
        let loop = WorkerLoop(name, every: .milliseconds(1), clock: clock.clock, logger: log.logger(level: .debug))
        func sample() -> String? {
            registry.exposition().split(separator: "\n")
                .first { $0.contains("worker=\"\(name)\"") }
                .map { String($0.split(separator: " ").last ?? "") }
        }
        let running = Task {
            await loop.run {
                switch rounds.wrappingAdd(1, ordering: .relaxed).newValue {
                case 1: throw RoundFailed()
                // Of something that the round waited for: the loop itself was not cancelled.
                case 2: throw CancellationError()
                default: break
                }
            }
        }
        #expect(try await eventually(within: .seconds(120)) { rounds.load(ordering: .relaxed) > 3 })
        running.cancel()
        await running.value
        #expect(sample() == "\(clock.clock.now().microseconds / 1_000_000)")
        #expect(log.text.contains(name))
    }
}

private struct RoundFailed: Error {}
