import Identity

/// The URL of an incoming webhook as it is stored: encrypted under the master key and bound to its endpoint.
enum SealedURL {
    private static let purpose = "webhook urls v1"

    static func seal(_ url: String, of endpoint: WebhookEndpointID, _ masterKey: MasterKey) throws -> [UInt8] {
        try masterKey.seal(Array(url.utf8), for: purpose, name: endpoint.description)
    }

    /// Throws for what another master key sealed, or for another endpoint.
    static func open(_ sealed: [UInt8], of endpoint: WebhookEndpointID, _ masterKey: MasterKey) throws -> String {
        String(decoding: try masterKey.open(sealed, for: purpose, name: endpoint.description), as: UTF8.self)
    }
}
