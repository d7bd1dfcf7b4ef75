package import BillingCore
package import Crypto

/// Who is calling, as the credential says and never as the request claims.
package struct Principal: Sendable {
    /// Names the credential in logs and the audit log, such as `key:4f6c...`; it is not a secret.
    package let credentialID: String
    /// Nil for an operator-wide credential.
    package let tenantID: TenantID?
    package let tenantKey: String?
    /// A suspended tenant's credential reads and does nothing else.
    package let isTenantSuspended: Bool
    package let scopes: ScopeSet
    package let narrowing: Narrowing
    package let attribution: Attribution
    /// Derived from the presented secret, which is not kept: stored answers that bear a secret are sealed with it,
    /// so that nobody without the same credential can open them.
    package let answerKey: AnswerKey

    package init(
        credentialID: String,
        tenantID: TenantID?,
        tenantKey: String?,
        isTenantSuspended: Bool = false,
        scopes: ScopeSet,
        narrowing: Narrowing = .none,
        attribution: Attribution = .none,
        answerKey: AnswerKey
    ) {
        self.credentialID = credentialID
        self.tenantID = tenantID
        self.tenantKey = tenantKey
        self.isTenantSuspended = isTenantSuspended
        self.scopes = scopes
        self.narrowing = narrowing
        self.attribution = attribution
        self.answerKey = answerKey
    }

    package var isOperatorWide: Bool { tenantID == nil }

    /// Whether a path that names this tenant may be answered to this caller.
    package func mayAccess(tenantKey key: String) -> Bool {
        tenantID == nil || tenantKey == key
    }

    package func mayAccess(tenant id: TenantID) -> Bool {
        tenantID == nil || tenantID == id
    }
}

/// An AES-256 key made by HKDF-SHA256 from a credential's secret.
package struct AnswerKey: Sendable, CustomStringConvertible {
    package let symmetricKey: SymmetricKey

    /// The stored hash of the secret is of no use here: it takes the secret itself to derive the key.
    package init(derivedFromSecret secret: String) {
        symmetricKey = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: Array(secret.utf8)),
            info: Array("turnpike idempotent answer v1".utf8),
            outputByteCount: 32
        )
    }

    /// For a credential whose secret changes while it stays the same, as an access token does.
    package init(_ symmetricKey: SymmetricKey) {
        self.symmetricKey = symmetricKey
    }

    package var description: String { "AnswerKey(redacted)" }
}
