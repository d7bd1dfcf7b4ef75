import Dispatch

/// Keeps a receiver's answers back until it is opened.
struct AnswerGate: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)

    func open() {
        semaphore.signal()
    }

    /// Waits for at most as long as an attempt may take, so that no thread is left behind.
    func pass(seconds: Int64 = 15) {
        _ = semaphore.wait(timeout: .now() + .seconds(Int(seconds)))
        semaphore.signal()
    }
}
