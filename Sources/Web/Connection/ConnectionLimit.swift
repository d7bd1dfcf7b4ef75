import HummingbirdCore
import Metrics

/// How many connections are open at once. Beyond the limit new ones wait in the system's queue until one closes.
struct ConnectionLimit: AvailableConnectionsDelegate {
    private let limit: Int
    private var count = 0
    private let open = Gauge(label: "turnpike_http_connections")

    init(_ limit: Int) {
        self.limit = limit
    }

    mutating func connectionOpened() {
        count += 1
        open.record(count)
    }

    mutating func connectionClosed() {
        count -= 1
        open.record(count)
    }

    func isAcceptingNewConnections() -> Bool { count < limit }
}
