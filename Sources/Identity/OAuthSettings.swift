/// How tokens are issued. Without it the service issues and believes none.
package struct OAuthSettings: Sendable {
    /// No token lives longer, whatever is set: so long a signing key is kept after its last one.
    package static let maximumTokenSeconds: Int64 = 24 * 60 * 60

    package let masterKey: MasterKey
    /// Names this service in tokens, without a slash at its end: `https://turnpike.example`. It is the audience too.
    package let issuer: String
    package var tokenSeconds: Int64 = 900
    package var algorithm = SignatureAlgorithm.es256
    /// How long a key signs before the next one does.
    package var signingKeyDays: Int64 = 30

    package init(masterKey: MasterKey, issuer: String) {
        self.masterKey = masterKey
        self.issuer = issuer
    }
}
