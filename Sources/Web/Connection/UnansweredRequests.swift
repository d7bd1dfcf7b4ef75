import Synchronization

/// How many requests are not answered to their end, over all connections of a server: of each its head has arrived.
package final class UnansweredRequests: Sendable {
    private let number = Atomic(0)

    package var count: Int { number.load(ordering: .relaxed) }

    func change(by difference: Int) {
        number.wrappingAdd(difference, ordering: .relaxed)
    }
}
