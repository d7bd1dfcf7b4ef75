import CEpoll
import Foundation

/// Says of which connections something can be read (epoll(7), level-triggered). Each is added once, under a number.
final class Epoll {
    private static let mostAtOnce = 64

    private let descriptor: Int32
    private var numbers = [UInt32](repeating: 0, count: Epoll.mostAtOnce)

    init() throws {
        descriptor = epoll_create1(0)
        guard descriptor >= 0 else { throw LoadConnection.Failure(description: "epoll_create1 failed: errno \(errno)") }
    }

    deinit {
        close(descriptor)
    }

    func add(_ connection: LoadConnection, number: Int) throws {
        guard turnpike_epoll_add(descriptor, connection.descriptor, UInt32(number)) == 0 else {
            throw LoadConnection.Failure(description: "epoll_ctl failed: errno \(errno)")
        }
    }

    /// The numbers of some, once there are any; of none after so long.
    func wait(nanoseconds: UInt64) throws -> ArraySlice<UInt32> {
        while true {
            let count = turnpike_epoll_wait(descriptor, &numbers, Int32(Self.mostAtOnce), Int64(nanoseconds))
            if count >= 0 { return numbers[..<Int(count)] }
            guard errno == EINTR else {
                throw LoadConnection.Failure(description: "epoll_pwait2 failed: errno \(errno)")
            }
        }
    }
}
