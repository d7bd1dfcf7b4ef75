package import BillingCore
import Foundation
import Synchronization

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
        let random = RandomReserve()
        return IDSource {
            let (high, low) = random.next()
            return UUIDv7(
                milliseconds: clock.now().microseconds / 1_000,
                random: (UInt16(truncatingIfNeeded: high), low)
            )
        }
    }
}

/// Random numbers of the operating system, of which many are asked for at once: each asking is a system call.
private final class RandomReserve: Sendable {
    private static let capacity = 256
    private let numbers = Mutex<[UInt64]>([])

    func next() -> (UInt64, UInt64) {
        numbers.withLock { numbers in
            if numbers.count < 2 {
                numbers = Array(unsafeUninitializedCapacity: Self.capacity) { buffer, count in
                    guard let start = buffer.baseAddress else { return }
                    arc4random_buf(start, Self.capacity * MemoryLayout<UInt64>.stride)
                    count = Self.capacity
                }
            }
            return (numbers.removeLast(), numbers.removeLast())
        }
    }
}
