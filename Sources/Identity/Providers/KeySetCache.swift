import BillingCore
import Logging
import Metrics
import Synchronization
import Web

/// The public keys of other issuers, read from where they publish them (RFC 7517) and kept.
///
/// They are read afresh after an hour, and when a token names a key that is not among them, but never twice within a
/// minute, so that made-up key ids are no way to make us call somebody. Whoever needs a key while they are being read
/// waits for them. When reading fails, what is there stays, for a
/// day: an issuer that is away locks nobody out, and a key that it has withdrawn does not live for ever.
final class KeySetCache: Sendable {
    static let refreshSeconds: Int64 = 3_600
    static let pauseSeconds: Int64 = 60
    /// Where nothing is known, waiting a minute would be an outage.
    static let firstPauseSeconds: Int64 = 5
    static let keptSeconds: Int64 = 86_400
    private static let maximumBytes = 256 * 1_024
    private static let maximumKeys = 100

    fileprivate struct Entry {
        var keys: [JWTVerifier] = []
        var readAt: Instant?
        /// When the last reading ended.
        var triedAt: Instant?
        var isReading = false
        let reading = SharedWork<Void>()
    }

    private let client: OutboundClient
    private let clock: Clock
    private let logger: Logger
    private let entries = Mutex<[String: Entry]>([:])
    private let successes = Counter(label: fetches, dimensions: [("result", "ok")])
    private let failures = Counter(label: fetches, dimensions: [("result", "failed")])
    private static let fetches = "turnpike_identity_provider_key_fetches_total"

    init(client: OutboundClient, clock: Clock, logger: Logger) {
        self.client = client
        self.clock = clock
        self.logger = logger
    }

    /// The key that a token of this provider means: of an algorithm that the provider is allowed, by the id it names,
    /// or the only one where it names none.
    func verifier(for header: TokenHeader, of provider: IdentityProvider) async throws -> JWTVerifier {
        guard provider.algorithms.contains(where: { $0.rawValue == header.algorithm }) else { throw JWTFault.algorithm }
        let now = clock.now()
        let entry = entry(of: provider, now: now)
        if let found = Self.find(header, in: entry.keys), !entry.isOld(now) || entry.isReading { return found }
        guard entry.isReading || entry.mayTry(now) else { return try Self.required(header, in: entry.keys) }
        try await entry.reading.run { await self.read(provider) }
        return try Self.required(header, in: self.entry(of: provider, now: now).keys)
    }

    /// Forgets the keys of providers that are no longer there.
    func keep(only providers: [IdentityProvider]) {
        let uris = Set(providers.map(\.jwksURI))
        entries.withLock { entries in entries = entries.filter { uris.contains($0.key) } }
    }

    private static func find(_ header: TokenHeader, in keys: [JWTVerifier]) -> JWTVerifier? {
        let candidates = keys.filter { key in
            key.algorithm.rawValue == header.algorithm && (header.keyID == nil || header.keyID == key.keyID)
        }
        return candidates.count == 1 ? candidates.first : nil
    }

    private static func required(_ header: TokenHeader, in keys: [JWTVerifier]) throws(JWTFault) -> JWTVerifier {
        guard let key = find(header, in: keys) else { throw .unknownKey }
        return key
    }

    private func entry(of provider: IdentityProvider, now: Instant) -> Entry {
        entries.withLock { entries in
            var entry = entries[provider.jwksURI] ?? Entry()
            if let readAt = entry.readAt, now >= readAt.adding(seconds: Self.keptSeconds) { entry.keys = [] }
            entries[provider.jwksURI] = entry
            return entry
        }
    }

    private func read(_ provider: IdentityProvider) async {
        let now = clock.now()
        let isDue = entries.withLock { entries in
            // Another reading may have ended since this one was found to be needed.
            guard entries[provider.jwksURI]?.mayTry(now) ?? false else { return false }
            entries[provider.jwksURI]?.isReading = true
            return true
        }
        guard isDue else { return }
        defer {
            let end = clock.now()
            entries.withLock { entries in
                entries[provider.jwksURI]?.triedAt = end
                entries[provider.jwksURI]?.isReading = false
            }
        }
        do throws(OutboundFault) {
            let bytes = try await client.get(
                provider.jwksURI,
                for: provider.key,
                accept: "application/jwk-set+json, application/json",
                limitBytes: Self.maximumBytes
            )
            guard let keys = Self.keys(bytes) else { throw .unanswered("it is no set of keys") }
            entries.withLock { entries in
                entries[provider.jwksURI]?.keys = keys
                entries[provider.jwksURI]?.readAt = now
            }
            successes.increment()
        } catch {
            failures.increment()
            logger.warning(
                "the keys of an identity provider could not be read",
                metadata: ["provider": "\(provider.key)", "error": "\(error)"]
            )
        }
    }

    /// The keys of a set that can be used; a set may hold others, for encryption or of kinds not known here. Nil when
    /// it is no set.
    private static func keys(_ bytes: [UInt8]) -> [JWTVerifier]? {
        guard let json = try? JSONValue(parsing: bytes), case .array(let keys)? = json["keys"] else { return nil }
        return keys.prefix(maximumKeys).compactMap { try? JWTVerifier(jwk: $0) }
    }
}

extension KeySetCache.Entry {
    fileprivate func isOld(_ now: Instant) -> Bool {
        readAt.map { now >= $0.adding(seconds: KeySetCache.refreshSeconds) } ?? true
    }

    fileprivate func mayTry(_ now: Instant) -> Bool {
        let pause = keys.isEmpty ? KeySetCache.firstPauseSeconds : KeySetCache.pauseSeconds
        return triedAt.map { now >= $0.adding(seconds: pause) } ?? true
    }
}
