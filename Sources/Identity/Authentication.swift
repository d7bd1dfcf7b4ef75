import HTTPTypes
package import Web

/// Says who presents a credential, whatever its kind: the text tells the kind, and each kind has its own judge.
package struct Authentication: Sendable {
    let apiKeys: APIKeyAuthentication
    let throttle: AuthenticationThrottle

    /// The principal of a presented credential, or the 401, which does not say what is wrong with it.
    package func principal(of presented: PresentedCredential, from address: IPAddress) async throws -> Principal {
        let text =
            switch presented {
            case .bearer(let text), .apiKey(let text): text
            }
        do {
            return try await apiKeys.principal(of: text, from: address)
        } catch let problem as Problem where problem.status == .unauthorized {
            let credentialID = (try? APIKeyText(parsing: text))?.credentialID
            throw throttle.failed(problem, from: address, credentialID: credentialID)
        }
    }
}
