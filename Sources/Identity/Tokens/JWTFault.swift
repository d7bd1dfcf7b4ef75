/// Why a signed token is not believed. The reason goes into a metric; a caller learns only that it is not.
enum JWTFault: String, Error, Sendable, CaseIterable {
    case oversized
    case malformed
    /// Of another `typ`: a token made for something else.
    case type
    /// Of another `alg` than the key's own.
    case algorithm
    /// With extensions that must be understood and are not.
    case critical
    case unknownKey = "unknown_key"
    case signature
    /// A claim is missing or of the wrong kind.
    case claims
    case issuer
    case audience
    case expired
    case notYetValid = "not_yet_valid"
    case revoked
    /// Its client is unknown, disabled or revoked.
    case client
}
