import BillingCore
import Web

/// The validated body of `POST` and `PUT /api/v1/identity-providers`.
struct IdentityProviderInput: Sendable {
    private static let maximumMappings = 100
    private static let maximumTenants = 1_000

    let provider: IdentityProvider

    /// - Parameter key: the one in the path; without it the body names one.
    init(_ fields: JSONObjectReader, key: String?, now: Instant) throws {
        let own = key ?? fields.key("key")
        let issuer = Self.url("issuer", fields)
        let jwksURI = Self.url("jwks_uri", fields)
        let audiences = fields.strings("audiences", minimumCount: 1, maximumCount: 20)
        let algorithms = Self.algorithms(fields)
        let tenant = Self.tenant(fields)
        let tenants = Self.tenants(fields, of: tenant)
        let allowed = Self.scopes("allowed_scopes", fields, minimumCount: 1)
        let defaults = Self.scopes("default_scopes", fields, minimumCount: 0)
        if !defaults.isSubset(of: allowed) {
            Self.notAllowed("default_scopes", defaults.subtracting(allowed), fields)
        }
        let scopeClaim = fields.optionalString("scope_claim")
        let mapping = Self.mapping(fields, allowed: allowed)
        if (scopeClaim == nil) != mapping.isEmpty {
            fields.fault(
                at: "scope_mapping",
                code: "incomplete",
                detail: "\"scope_claim\" and \"scope_mapping\" belong together"
            )
        }
        let leeway = fields.optionalInteger("leeway_seconds", in: 0...IdentityProvider.maximumLeewaySeconds) ?? 60
        let isEnabled = fields.bool("enabled", default: true)
        try fields.finish()
        provider = IdentityProvider(
            key: own,
            issuer: issuer,
            jwksURI: jwksURI,
            audiences: audiences,
            algorithms: algorithms,
            tenant: tenant,
            tenants: tenants,
            scopeClaim: scopeClaim,
            scopeMapping: mapping,
            defaultScopes: defaults,
            allowedScopes: allowed,
            leewaySeconds: leeway,
            isEnabled: isEnabled,
            createdAt: now,
            updatedAt: now,
            revision: 1
        )
    }

    private static func url(_ name: String, _ fields: JSONObjectReader) -> String {
        let text = fields.string(name, maximumLength: 2_000)
        do throws(OutboundFault) {
            if !text.isEmpty { _ = try OutboundURL(text) }
        } catch {
            fields.fault(at: name, code: "invalid_url", detail: "\"\(name)\": \(error)")
        }
        return text
    }

    private static func algorithms(_ fields: JSONObjectReader) -> [SignatureAlgorithm] {
        guard fields.contains("algorithms") else { return SignatureAlgorithm.allCases }
        let names = fields.strings("algorithms", minimumCount: 1)
        return names.enumerated().compactMap { index, name in
            let algorithm = SignatureAlgorithm(rawValue: name)
            if algorithm == nil {
                let known = SignatureAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
                fields.fault(
                    at: "algorithms/\(index)",
                    code: "unknown_algorithm",
                    detail: "\"\(name)\" is not one of \(known)"
                )
            }
            return algorithm
        }
    }

    private static func tenant(_ fields: JSONObjectReader) -> IdentityProvider.TenantRule {
        switch (fields.optionalKey("tenant"), fields.optionalString("tenant_claim")) {
        case (let key?, nil): return .fixed(key: key)
        case (nil, let claim?): return .claim(claim)
        default:
            fields.fault(
                at: "tenant",
                code: "ambiguous",
                detail: "either \"tenant\" or \"tenant_claim\" is required: every token is bound to a tenant"
            )
            return .fixed(key: "")
        }
    }

    /// The tenants that the claim may name: each exists or may come to exist, so that only the form is judged.
    private static func tenants(
        _ fields: JSONObjectReader,
        of rule: IdentityProvider.TenantRule
    ) -> Set<String>? {
        guard let json = fields.json("tenants"), json != .null else { return nil }
        if case .fixed = rule {
            let detail = "\"tenants\" narrows \"tenant_claim\"; one \"tenant\" needs no list"
            fields.fault(at: "tenants", code: "ambiguous", detail: detail)
        }
        let keys = fields.strings("tenants", minimumCount: 1, maximumCount: maximumTenants)
        for (index, key) in keys.enumerated() where !ResourceKey.isValid(key) {
            let detail = "each tenant must be \(ResourceKey.expectation)"
            fields.fault(at: "tenants/\(index)", code: "invalid_key", detail: detail)
        }
        return Set(keys)
    }

    private static func scopes(_ name: String, _ fields: JSONObjectReader, minimumCount: Int) -> ScopeSet {
        let names = fields.strings(name, minimumCount: minimumCount)
        return scopes(names, at: name, fields)
    }

    private static func scopes(_ names: [String], at path: String, _ fields: JSONObjectReader) -> ScopeSet {
        var scopes: ScopeSet = []
        for (index, scope) in names.enumerated() {
            if let known = ScopeSet(name: scope) {
                scopes.formUnion(known)
            } else {
                let detail = "there is no scope '\(scope)'"
                fields.fault(at: "\(path)/\(index)", code: "unknown_scope", detail: detail)
            }
        }
        return scopes
    }

    private static func mapping(_ fields: JSONObjectReader, allowed: ScopeSet) -> [String: ScopeSet] {
        guard let json = fields.json("scope_mapping"), json != .null else { return [:] }
        guard case .object(let members) = json, members.count <= maximumMappings else {
            let detail = "\"scope_mapping\" must be an object of at most \(maximumMappings) values with scopes"
            fields.fault(at: "scope_mapping", code: "invalid_type", detail: detail)
            return [:]
        }
        var mapping: [String: ScopeSet] = [:]
        for member in members {
            let path = "scope_mapping/\(JSONPointer.escaped(member.name))"
            guard case .array(let elements) = member.value else {
                fields.fault(at: path, code: "invalid_type", detail: "each value needs a list of scopes")
                continue
            }
            let names = elements.map { if case .string(let text) = $0 { text } else { "" } }
            let scopes = scopes(names, at: path, fields)
            if !scopes.isSubset(of: allowed) { notAllowed(path, scopes.subtracting(allowed), fields) }
            mapping[member.name] = scopes
        }
        return mapping
    }

    private static func notAllowed(_ path: String, _ scopes: ScopeSet, _ fields: JSONObjectReader) {
        let names = scopes.names.joined(separator: ", ")
        fields.fault(at: path, code: "beyond_allowed_scopes", detail: "not in \"allowed_scopes\": \(names)")
    }
}
