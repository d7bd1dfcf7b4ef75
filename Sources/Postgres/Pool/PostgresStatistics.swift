/// What a lane is doing and has done, as one consistent snapshot.
package struct PostgresLaneStatistics: Sendable {
    package internal(set) var limit = 0
    package internal(set) var inUse = 0
    package internal(set) var idle = 0
    /// Callers waiting for a connection now.
    package internal(set) var waiting = 0
    /// Connections handed out since the start.
    package internal(set) var leases: UInt64 = 0
    /// Callers that had to wait, and how long all of them waited together.
    package internal(set) var waits: UInt64 = 0
    package internal(set) var waitNanoseconds: UInt64 = 0
    /// Waits that ended without a connection.
    package internal(set) var timeouts: UInt64 = 0
    /// Callers refused at once because too many were waiting.
    package internal(set) var refusals: UInt64 = 0
}
