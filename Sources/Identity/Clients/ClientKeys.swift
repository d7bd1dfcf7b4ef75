import Web

/// The public keys that a client has registered (RFC 7591, `jwks`): only what they need of each is kept.
struct ClientKeys: Sendable {
    static let none = ClientKeys(verifiers: [], json: .null)
    private static let maximumCount = 10

    let verifiers: [JWTVerifier]
    /// The set as it is stored and answered; null for none.
    let json: JSONValue

    private init(verifiers: [JWTVerifier], json: JSONValue) {
        self.verifiers = verifiers
        self.json = json
    }

    /// Reads the member `jwks` of a body; every fault is recorded at its pointer.
    init(_ value: JSONValue, faults fields: JSONObjectReader) throws {
        guard case .array(let keys)? = value["keys"], (1...Self.maximumCount).contains(keys.count) else {
            let detail = "\"jwks\" must be {\"keys\": [...]} with 1 to \(Self.maximumCount) public keys"
            fields.fault(at: "jwks", code: "invalid_jwks", detail: detail)
            self = .none
            return
        }
        var verifiers: [JWTVerifier] = []
        for (index, key) in keys.enumerated() {
            do {
                verifiers.append(try JWTVerifier(jwk: key))
            } catch {
                fields.fault(at: "jwks/keys/\(index)/\(error.member)", code: "invalid_key", detail: error.detail)
            }
        }
        if Set(verifiers.map(\.keyID)).count < verifiers.count {
            fields.fault(at: "jwks/keys", code: "duplicate", detail: "each key must have a \"kid\" of its own")
        }
        try self.init(verifiers)
    }

    /// As stored; a stored key is valid, and one that were not would verify nothing.
    init(stored json: JSONValue) {
        guard case .array(let keys)? = json["keys"] else {
            self = .none
            return
        }
        self.init(verifiers: keys.compactMap { try? JWTVerifier(jwk: $0) }, json: json)
    }

    private init(_ verifiers: [JWTVerifier]) throws {
        self.verifiers = verifiers
        json = .members(["keys": .array(try verifiers.map { try $0.jwk })])
    }

    /// The key that a token means: the one it names, or the only one of its algorithm where it names none.
    func verifier(for header: TokenHeader) throws(JWTFault) -> JWTVerifier {
        let candidates = verifiers.filter { key in
            header.keyID.map { $0 == key.keyID } ?? (key.algorithm.rawValue == header.algorithm)
        }
        guard candidates.count == 1, let only = candidates.first else { throw .unknownKey }
        return only
    }
}
