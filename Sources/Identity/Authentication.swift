package import Web

/// Says who presents a credential, whatever its kind: the text tells the kind, and each kind has its own judge.
package struct Authentication: Sendable {
    let apiKeys: APIKeyAuthentication

    /// The principal of a presented credential, or the 401, which does not say what is wrong with it.
    package func principal(of presented: PresentedCredential) async throws -> Principal {
        let text =
            switch presented {
            case .bearer(let text), .apiKey(let text): text
            }
        return try await apiKeys.principal(of: text)
    }
}
