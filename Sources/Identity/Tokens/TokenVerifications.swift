import Metrics

/// Counts the signatures of presented tokens that were verified, which is the work that a flood of them could make.
struct TokenVerifications: Sendable {
    private let good = Counter(label: label, dimensions: [("outcome", "good")])
    private let bad = Counter(label: label, dimensions: [("outcome", "bad")])
    private static let label = "turnpike_token_verifications_total"

    func verify(_ token: CompactJWT, by verifier: JWTVerifier) throws(JWTFault) {
        do throws(JWTFault) {
            try verifier.verify(token)
            good.increment()
        } catch {
            bad.increment()
            throw error
        }
    }
}
