import BillingCore
import Crypto
import Web

/// A program that gets tokens from us (RFC 6749, section 2). It does not hold its secret, which nobody can show again.
struct OAuthClient: Sendable {
    /// How a client shows at the token endpoint who it is (RFC 8414, section 2).
    enum AuthenticationMethod: String, Sendable, CaseIterable {
        case basic = "client_secret_basic"
        case post = "client_secret_post"
        case privateKeyJWT = "private_key_jwt"

        var usesSecret: Bool { self != .privateKeyJWT }
    }

    let id: String
    /// `TenantID.operatorWide` for a client that is bound to no tenant.
    let tenantID: TenantID
    var name: String
    var scopes: ScopeSet
    var narrowing: CredentialNarrowing
    let method: AuthenticationMethod
    /// The public keys of `private_key_jwt`; empty for the other methods.
    var keys: ClientKeys
    var isEnabled: Bool
    let createdAt: Instant
    var updatedAt: Instant
    var revokedAt: Instant?
    /// Until when the secret before the last rotation works too.
    var previousSecretExpiresAt: Instant?
    var revision: Int64

    /// Whether a text has the form of a client's id: sixteen digits of base32.
    static func isID(_ text: String) -> Bool {
        text.utf8.count == 16 && text.utf8.allSatisfy(Base32.isDigit)
    }

    /// Nil for a client that is bound to no tenant.
    var boundTenantID: TenantID? { tenantID == .operatorWide ? nil : tenantID }
    /// Names the client in logs and in the audit log.
    var credentialID: String { "client:\(id)" }
    /// Whether it gets tokens, and those it has are believed.
    var isActive: Bool { isEnabled && revokedAt == nil }
}

/// A client's secret: shown once and kept as its SHA-256. 256 random bits need no slow hash.
struct ClientSecret: Sendable {
    /// Tells what it is to a person and to a scanner that looks for leaked secrets.
    static let prefix = "tpcs_"

    let text: String

    init() {
        text = Self.prefix + Base32.random(byteCount: 32)
    }

    var hash: SecretHash { Self.hash(of: text) }

    static func hash(of text: String) -> SecretHash {
        SecretHash(bytes: Array(SHA256.hash(data: Array(text.utf8))))
    }
}

/// The secrets that a client may show at a moment.
struct ClientSecretHashes: Sendable {
    let current: SecretHash?
    let previous: SecretHash?
    let previousExpiresAt: Instant?

    /// Takes the same time whichever secret it is, and wherever it differs.
    func match(_ presented: SecretHash, at now: Instant) -> Bool {
        let isCurrent = current?.matches(presented) ?? false
        let isPrevious = previous?.matches(presented) ?? false
        return isCurrent || (isPrevious && (previousExpiresAt.map { now < $0 } ?? false))
    }
}
