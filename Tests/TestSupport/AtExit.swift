import Foundation
import Synchronization

/// What is done when the test process ends, last registered first.
enum AtExit {
    private static let actions = Mutex<[@Sendable () -> Void]>([])

    static func run(_ action: @escaping @Sendable () -> Void) {
        let isFirst = actions.withLock { actions in
            actions.append(action)
            return actions.count == 1
        }
        guard isFirst else { return }
        atexit {
            for action in AtExit.actions.withLock({ $0 }).reversed() { action() }
        }
    }
}
