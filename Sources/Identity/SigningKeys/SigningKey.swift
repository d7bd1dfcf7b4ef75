import BillingCore
import Web

/// A stored key that tokens are signed with. Its private part is encrypted.
struct SigningKey: Sendable {
    let id: String
    let algorithm: SignatureAlgorithm
    let publicJWK: JSONValue
    let sealedPrivateKey: [UInt8]
    /// Since when it is published.
    let createdAt: Instant
    /// Since when it signs, until a later one does.
    let signsFrom: Instant

    private static let purpose = "signing keys v1"

    /// A new key, sealed.
    static func generate(
        _ algorithm: SignatureAlgorithm,
        createdAt: Instant,
        signsFrom: Instant,
        masterKey: MasterKey
    ) throws -> SigningKey {
        let signer = try JWTSigner(generating: algorithm)
        return SigningKey(
            id: signer.keyID,
            algorithm: algorithm,
            publicJWK: try signer.verifier.jwk,
            sealedPrivateKey: try masterKey.seal(signer.privateKey, for: purpose, name: signer.keyID),
            createdAt: createdAt,
            signsFrom: signsFrom
        )
    }

    /// Nil when another master key sealed it: tokens it signed are believed, and it signs none.
    func signer(_ masterKey: MasterKey) -> JWTSigner? {
        guard let bytes = try? masterKey.open(sealedPrivateKey, for: Self.purpose, name: id) else { return nil }
        return try? JWTSigner(keyID: id, algorithm: algorithm, privateKey: bytes)
    }
}

/// What a round of rotation has to do, decided from the keys alone.
struct SigningKeyPlan: Equatable {
    /// How long verifiers may keep a JWKS they have read.
    static let publishedCacheSeconds: Int64 = 300
    /// A key is published this long before it signs: longer than anybody keeps a JWKS without it.
    static let leadSeconds: Int64 = 2 * publishedCacheSeconds
    /// A key stays published this long after it has stopped signing: longer than any token lives.
    static let retentionSeconds = OAuthSettings.maximumTokenSeconds + leadSeconds

    /// When a new key is to sign from; nil when none is needed.
    let newKeySignsFrom: Instant?
    /// The ids of keys that nothing unexpired is signed with.
    let removed: [String]

    /// - Parameters:
    ///   - keys: every stored key.
    ///   - usable: the ids of those that this process can sign with.
    init(keys: [SigningKey], usable: Set<String>, algorithm: SignatureAlgorithm, rotationDays: Int64, now: Instant) {
        let afterLead = now.adding(seconds: Self.leadSeconds)
        let latest = keys.filter { usable.contains($0.id) }.max { $0.signsFrom < $1.signsFrom }
        if let latest {
            let isDue = latest.signsFrom.adding(seconds: rotationDays * 86_400) <= afterLead
            let isAwaited = latest.signsFrom > now
            newKeySignsFrom = !isAwaited && (isDue || latest.algorithm != algorithm) ? afterLead : nil
        } else {
            newKeySignsFrom = now
        }
        removed = keys.filter { key in
            keys.contains { later in
                later.signsFrom > key.signsFrom && later.signsFrom.adding(seconds: Self.retentionSeconds) <= now
            }
        }.map(\.id)
    }
}
