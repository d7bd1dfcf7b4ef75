/// The algorithms (RFC 7518) that tokens are signed with and believed by. `none` and the symmetric ones are not among
/// them, so that no header can ask for one.
package enum SignatureAlgorithm: String, Sendable, CaseIterable {
    /// ECDSA on P-256 with SHA-256.
    case es256 = "ES256"
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    case rs256 = "RS256"
}
