import Synchronization

/// A reading of something that changes, which many ask for at once and share. Nobody shares the outcome of one that had
/// begun before he asked: it may have missed what he knows to have changed.
package final class SharedReading<Value: Sendable>: Sendable {
    private let work = SharedWork<(number: Int, outcome: Result<Value, any Error>)>()
    private let begun = Atomic(0)

    package init() {}

    package func run(_ read: @Sendable () async throws -> Value) async throws -> Value {
        let earlier = begun.load(ordering: .sequentiallyConsistent)
        while true {
            let reading = try await work.run {
                let number = begun.add(1, ordering: .sequentiallyConsistent).newValue
                do {
                    return (number, .success(try await read()))
                } catch {
                    // Who called it off has gone; the others have not.
                    return (Task.isCancelled ? 0 : number, .failure(error))
                }
            }
            if reading.number > earlier || Task.isCancelled { return try reading.outcome.get() }
        }
    }
}
