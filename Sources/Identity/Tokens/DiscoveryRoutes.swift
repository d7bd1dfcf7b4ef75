import HTTPTypes
import Web

/// What others need to know to get tokens from us and to believe them: the JWKS (RFC 7517) and the metadata (RFC 8414).
struct DiscoveryRoutes: Sendable {
    static let metadataPath = "/.well-known/oauth-authorization-server"
    static let keysPath = "/.well-known/jwks.json"

    let ring: SigningKeyRing
    let settings: OAuthSettings

    func keys(_ request: APIRequest, _ context: RequestContext) throws -> Answer {
        try cached(.json(JSONValue.members(["keys": .array(ring.published)])))
    }

    func metadata(_ request: APIRequest, _ context: RequestContext) throws -> Answer {
        try cached(.json(Metadata(issuer: settings.issuer)))
    }

    /// No longer than a new key is published before it signs.
    private func cached(_ answer: Answer) -> Answer {
        var answer = answer
        answer.headers[.cacheControl] = "public, max-age=\(SigningKeyPlan.publishedCacheSeconds)"
        return answer
    }

    private struct Metadata: Encodable {
        let issuer: String
        let tokenEndpoint: String
        let introspectionEndpoint: String
        let revocationEndpoint: String
        let jwksUri: String
        let scopesSupported = Scope.allCases.map(\.rawValue)
        /// There is no authorisation endpoint, so no type of its answers; the member is required all the same.
        let responseTypesSupported: [String] = []
        let grantTypesSupported = ["client_credentials"]
        let tokenEndpointAuthMethodsSupported = OAuthClient.AuthenticationMethod.allCases.map(\.rawValue)
        let tokenEndpointAuthSigningAlgValuesSupported = SignatureAlgorithm.allCases.map(\.rawValue)
        let introspectionEndpointAuthMethodsSupported = OAuthClient.AuthenticationMethod.allCases.map(\.rawValue)
        let introspectionEndpointAuthSigningAlgValuesSupported = SignatureAlgorithm.allCases.map(\.rawValue)
        let revocationEndpointAuthMethodsSupported = OAuthClient.AuthenticationMethod.allCases.map(\.rawValue)
        let revocationEndpointAuthSigningAlgValuesSupported = SignatureAlgorithm.allCases.map(\.rawValue)
        let serviceDocumentation: String

        init(issuer: String) {
            self.issuer = issuer
            tokenEndpoint = issuer + OAuth.tokenPath
            introspectionEndpoint = issuer + OAuth.introspectionPath
            revocationEndpoint = issuer + OAuth.revocationPath
            jwksUri = issuer + DiscoveryRoutes.keysPath
            serviceDocumentation = issuer + "/docs"
        }
    }
}
