package import BillingCore
import Synchronization
package import Web

/// A clock that stands still until it is moved.
package final class TestClock: Sendable {
    private let instant: Mutex<Instant>

    package init(_ text: String = "2026-11-23T08:00:00Z") {
        instant = Mutex((try? Instant(parsing: text)) ?? Instant(microseconds: 0))
    }

    package var now: Instant { instant.withLock { $0 } }

    package func advance(seconds: Int64) {
        instant.withLock { $0 = $0.adding(seconds: seconds) }
    }

    package func set(_ new: Instant) {
        instant.withLock { $0 = new }
    }

    package var clock: Clock {
        Clock { self.now }
    }
}
