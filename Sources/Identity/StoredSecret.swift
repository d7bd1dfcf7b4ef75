import BillingCore
import Web

/// What is stored of a credential that is an id and a secret, as authentication judges it: an API key or a portal
/// session, in whatever state it is.
struct StoredSecret: Sendable {
    let tenantID: TenantID
    let scopes: ScopeSet
    let narrowing: CredentialNarrowing
    let hash: SecretHash
    /// Of the secret before the last rotation, and until when it works.
    let previousHash: SecretHash?
    let previousExpiresAt: Instant?
    let expiresAt: Instant?
    let revokedAt: Instant?

    init(
        tenantID: TenantID,
        scopes: ScopeSet,
        narrowing: CredentialNarrowing = .none,
        hash: SecretHash,
        previousHash: SecretHash? = nil,
        previousExpiresAt: Instant? = nil,
        expiresAt: Instant?,
        revokedAt: Instant?
    ) {
        self.tenantID = tenantID
        self.scopes = scopes
        self.narrowing = narrowing
        self.hash = hash
        self.previousHash = previousHash
        self.previousExpiresAt = previousExpiresAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
    }

    /// Whether a secret of this hash opens anything now. It takes as long for a wrong one as for a right one.
    func accepts(_ presented: SecretHash, at now: Instant) -> Bool {
        let isCurrent = hash.matches(presented)
        let isPrevious = previousHash?.matches(presented) ?? false
        let overlaps = previousExpiresAt.map { now < $0 } ?? false
        let isValid = revokedAt == nil && (expiresAt.map { now < $0 } ?? true)
        return isValid && (isCurrent || isPrevious && overlaps)
    }
}
