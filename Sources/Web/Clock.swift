package import BillingCore
import Foundation

/// The present, injected so that tests can set it.
package struct Clock: Sendable {
    package let now: @Sendable () -> Instant

    package init(now: @escaping @Sendable () -> Instant) {
        self.now = now
    }

    package static let system = Clock {
        Instant(microseconds: Int64((Date.now.timeIntervalSince1970 * 1_000_000).rounded(.down)))
    }
}

/// Where new identifiers come from, injected like the clock.
package struct IDSource: Sendable {
    package let next: @Sendable () -> UUIDv7

    package init(next: @escaping @Sendable () -> UUIDv7) {
        self.next = next
    }

    /// Random version 7 identifiers that carry the clock's milliseconds.
    package static func random(_ clock: Clock) -> IDSource {
        IDSource {
            var generator = SystemRandomNumberGenerator()
            return UUIDv7(
                milliseconds: clock.now().microseconds / 1_000,
                random: (UInt16.random(in: .min ... .max, using: &generator), generator.next())
            )
        }
    }
}
