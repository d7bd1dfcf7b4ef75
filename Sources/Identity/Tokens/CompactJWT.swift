import Web

/// A signed token in the compact form (RFC 7515, section 3.1), taken apart and not believed yet: that is for
/// `JWTVerifier`.
struct CompactJWT: Sendable {
    static let maximumBytes = 8 * 1024

    let header: TokenHeader
    let claims: JWTClaims
    /// What is signed: the first two parts as they were sent.
    let signingInput: [UInt8]
    let signature: [UInt8]

    init(parsing text: String) throws(JWTFault) {
        guard text.utf8.count <= Self.maximumBytes else { throw .oversized }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3,
            let header = Self.object(parts[0]),
            let claims = Self.object(parts[1]),
            let signature = Base64URL.decoded(String(parts[2])), !signature.isEmpty
        else { throw .malformed }
        self.header = try TokenHeader(header)
        self.claims = JWTClaims(claims)
        self.signature = signature
        signingInput = Array(text.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
    }

    /// Whether a presented text has the outer form of a signed token: three parts between dots.
    static func hasForm(of text: String) -> Bool {
        text.utf8.count { $0 == UInt8(ascii: ".") } == 2
    }

    private static func object(_ part: Substring) -> JSONValue? {
        guard let bytes = Base64URL.decoded(String(part)), let value = try? JSONValue(parsing: bytes),
            case .object = value
        else { return nil }
        return value
    }
}

/// What a token says of its own signature. None of it is believed: it only chooses among what is known.
struct TokenHeader: Sendable {
    let algorithm: String
    let keyID: String?
    let type: String?

    /// Throws where an extension is critical: none is understood here (RFC 7515, section 4.1.11).
    init(_ json: JSONValue) throws(JWTFault) {
        guard case .string(let algorithm)? = json["alg"] else { throw .malformed }
        guard json["crit"] == nil else { throw .critical }
        self.algorithm = algorithm
        keyID = try Self.text(json["kid"])
        type = try Self.text(json["typ"])
    }

    /// Throws unless `typ` is one of these; nil stands for a header without it. Case does not matter, nor does a
    /// leading `application/` (RFC 7515, section 4.1.9).
    func requireType(_ types: Set<String?>) throws(JWTFault) {
        let given = type?.lowercased()
        let short = given.map { $0.hasPrefix("application/") ? String($0.dropFirst("application/".count)) : $0 }
        guard types.contains(short) else { throw .type }
    }

    private static func text(_ value: JSONValue?) throws(JWTFault) -> String? {
        guard let value else { return nil }
        guard case .string(let text) = value else { throw .malformed }
        return text
    }
}
