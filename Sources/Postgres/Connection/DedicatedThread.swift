import CLibPQ
import Glibc

/// A thread of our own, for work that blocks: the cooperative pool must never wait for a socket.
enum DedicatedThread {
    private final class Body {
        let run: @Sendable () -> Void

        init(_ run: @escaping @Sendable () -> Void) {
            self.run = run
        }
    }

    /// Bodies of transactions run on these threads too, so the stack is that of an ordinary thread.
    private static let stackBytes = 4 << 20

    /// Starts a detached thread; `name` is cut to the 15 characters the kernel keeps.
    static func start(_ name: String, _ run: @escaping @Sendable () -> Void) throws(PostgresError) {
        let name = String(name.prefix(15))
        let body = Unmanaged.passRetained(
            Body {
                _ = turnpike_name_this_thread(name)
                run()
            }
        )
        let code = withUnsafeTemporaryAllocation(of: pthread_attr_t.self, capacity: 1) { attributes -> Int32 in
            guard let attributes = attributes.baseAddress else { return ENOMEM }
            pthread_attr_init(attributes)
            defer { pthread_attr_destroy(attributes) }
            pthread_attr_setstacksize(attributes, stackBytes)
            pthread_attr_setdetachstate(attributes, Int32(PTHREAD_CREATE_DETACHED))
            var thread: pthread_t = 0
            return pthread_create(
                &thread,
                attributes,
                { argument in
                    guard let argument else { return nil }
                    Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                    return nil
                },
                body.toOpaque()
            )
        }
        guard code == 0 else {
            body.release()
            throw PostgresError(.connection, "no thread for a connection: \(String(cString: strerror(code)))")
        }
    }

    /// Runs blocking work on a thread of its own and returns what it returns.
    static func run<Result: Sendable>(
        _ name: String,
        _ work: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            do {
                try start(name) { continuation.resume(with: Swift.Result(catching: work)) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}
