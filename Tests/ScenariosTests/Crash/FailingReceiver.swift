import Synchronization
import TestSupport

/// A receiver of webhooks that fails at random in every way, at most once for an event, and keeps what it has taken.
final class FailingReceiver: Sendable {
    enum Failure: CaseIterable {
        case error, cut, timeout
    }

    private struct State {
        var random: SeededGenerator
        var failed: Set<String> = []
        var failures: [Failure: Int] = [:]
        var taken: [WebhookReceiver.Delivery] = []
    }

    /// Each holds an attempt for as long as the service waits for an answer: so many, and all of them early, so that a
    /// test takes not much longer for it.
    private static let mostTimeouts = 3
    private static let earlyFailures = 20
    /// Longer than that.
    private static let timeoutSeconds = 16.0

    let receiver: WebhookReceiver

    private let state: SharedState

    init(seed: UInt64) throws {
        let state = SharedState(State(random: SeededGenerator(seed: seed)))
        self.state = state
        receiver = try WebhookReceiver { delivery in
            switch state.value.withLock({ Self.failure(of: delivery, &$0) }) {
            case nil: .init(200, delaySeconds: 0.05)
            case .error: .init(500, delaySeconds: 0.05)
            case .cut: .cut
            case .timeout: .init(200, delaySeconds: Self.timeoutSeconds)
            }
        }
    }

    /// What it has answered 200 in time.
    var taken: [WebhookReceiver.Delivery] { state.value.withLock { $0.taken } }
    var failures: [Failure: Int] { state.value.withLock { $0.failures } }

    /// Nil takes it.
    private static func failure(of delivery: WebhookReceiver.Delivery, _ state: inout State) -> Failure? {
        let die = state.random.next() % 8
        guard die < 4, state.failed.insert(delivery.id).inserted else {
            state.taken.append(delivery)
            return nil
        }
        let mayBeSlow = state.failures[.timeout, default: 0] < mostTimeouts && state.failed.count < earlyFailures
        let failure: Failure = die < 2 && mayBeSlow ? .timeout : die % 2 == 0 ? .cut : .error
        state.failures[failure, default: 0] += 1
        return failure
    }

    private final class SharedState: Sendable {
        let value: Mutex<State>

        init(_ state: State) {
            value = Mutex(state)
        }
    }
}
