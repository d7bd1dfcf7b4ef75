import Postgres

/// How deliveries to an endpoint are signed (Standard Webhooks, "Signature scheme").
enum WebhookSigning: String, CaseIterable, Sendable, PostgresConvertible {
    /// `v1`: HMAC-SHA256 with a secret that both sides know.
    case hmac = "hmac_sha256"
    /// `v1a`: ed25519. Who verifies has the public key only.
    case ed25519
}
