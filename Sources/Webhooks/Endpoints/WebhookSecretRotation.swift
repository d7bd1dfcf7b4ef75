import Web

/// The validated body of `POST /api/v1/webhook-endpoints/{key}/rotate-secret`.
struct WebhookSecretRotation: Sendable {
    private static let maximumOverlapSeconds: Int64 = 7 * 86_400

    /// How long the old secret signs beside the new one.
    let overlapSeconds: Int64

    init(_ request: APIRequest) throws {
        let fields = try request.fields(emptyIsObject: true)
        overlapSeconds = fields.integer("overlap_seconds", in: 0...Self.maximumOverlapSeconds, default: 86_400)
        try fields.finish()
    }
}
