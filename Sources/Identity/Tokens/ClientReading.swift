import BillingCore
import Postgres
import Synchronization
import Web

/// Reads clients for whoever authenticates as one. A client that has authenticated here is read whatever else comes
/// from an address (ADR 0018), by one statement at a time; while that address or the client has no failures left it is
/// judged by what was read within the last second. Any other is looked up only while its address has failures left.
final class ClientReading: Sendable {
    private static let capacity = 10_000
    private static let freshMicroseconds: Int64 = 1_000_000

    private let pool: PostgresPool
    private let throttle: AuthenticationThrottle
    /// Clients that have authenticated here: some of them, forgotten all at once when they are many.
    private let known = Mutex<[String: KnownClient]>([:])

    init(pool: PostgresPool, throttle: AuthenticationThrottle) {
        self.pool = pool
        self.throttle = throttle
    }

    /// The client as it is stored, whatever state it is in; nil where there is none of this id.
    /// - Throws: the 429 of an address that has no failures left, for a client that is not known here.
    func find(_ id: String, from address: IPAddress, now: Instant) async throws -> OAuthClientStore.Stored? {
        guard let client = known.withLock({ $0[id] }) else {
            try throttle.requireFailuresLeft(address)
            return try await OAuthClientStore.find(id: id, pool: pool)
        }
        if !throttle.hasFailuresLeft(address, credentialID: "client:\(id)"),
            let last = client.last.withLock({ $0 }), now < last.freshUntil
        {
            return last.stored
        }
        return try await client.reading.run { [pool] in
            let stored = try await OAuthClientStore.find(id: id, pool: pool)
            client.last.withLock { $0 = (stored, now.adding(microseconds: Self.freshMicroseconds)) }
            return stored
        }
    }

    /// Keeps in mind that the client has authenticated.
    func note(_ id: String) {
        known.withLock { known in
            guard known[id] == nil else { return }
            if known.count >= Self.capacity { known.removeAll(keepingCapacity: true) }
            known[id] = KnownClient()
        }
    }
}

private final class KnownClient: Sendable {
    let reading = SharedReading<OAuthClientStore.Stored?>()
    let last = Mutex<(stored: OAuthClientStore.Stored?, freshUntil: Instant)?>(nil)
}
