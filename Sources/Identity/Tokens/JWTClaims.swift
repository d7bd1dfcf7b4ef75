import BillingCore
import Web

/// The claims of a token (RFC 7519, section 4), and the tests that every verifier makes of them.
struct JWTClaims: Sendable {
    let json: JSONValue

    /// - Parameter json: an object.
    init(_ json: JSONValue) {
        self.json = json
    }

    /// Nil when the claim is absent or no text.
    func string(_ name: String) -> String? {
        guard case .string(let text)? = json[name] else { return nil }
        return text
    }

    /// A NumericDate: seconds since 1970, perhaps with a fraction, which is dropped. Nil when absent.
    func time(_ name: String) throws(JWTFault) -> Instant? {
        guard let value = json[name] else { return nil }
        // Ten digits last until the year 2286; anything longer is not meant seriously.
        guard case .number(let text) = value, let seconds = Double(text), (0..<1e10).contains(seconds) else {
            throw .claims
        }
        return Instant(seconds: Int64(seconds))
    }

    /// `aud`, which may be one text or several.
    var audiences: [String] {
        switch json["aud"] {
        case .string(let text): [text]
        case .array(let elements):
            elements.compactMap { if case .string(let text) = $0 { text } else { nil } }
        default: []
        }
    }

    func requireIssuer(_ issuer: String) throws(JWTFault) {
        guard string("iss") == issuer else { throw .issuer }
    }

    func requireAudience(_ audience: String) throws(JWTFault) {
        guard audiences.contains(audience) else { throw .audience }
    }

    /// Throws unless the token is within its time, `exp` being required. Returns when it ends.
    /// - Parameter leewaySeconds: how far the issuer's clock may be from ours.
    @discardableResult
    func requireTime(_ now: Instant, leewaySeconds: Int64) throws(JWTFault) -> Instant {
        guard let end = try time("exp") else { throw .claims }
        guard now < end.adding(seconds: leewaySeconds) else { throw .expired }
        if let start = try time("nbf"), start > now.adding(seconds: leewaySeconds) { throw .notYetValid }
        return end
    }
}
