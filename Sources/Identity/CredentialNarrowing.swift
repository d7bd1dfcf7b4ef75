package import BillingCore
import HTTPTypes
package import Web

/// What a credential is narrowed to, and whom its usage is attributed to, as callers write it beside its scopes. API
/// keys and OAuth clients share these members.
package struct CredentialNarrowing: Sendable, Hashable {
    package let narrowing: Narrowing
    /// Replaces the cost centre of the credential's events; nil leaves theirs.
    package let costCenter: String?

    package static let none = CredentialNarrowing(narrowing: .none, costCenter: nil)

    package init(narrowing: Narrowing, costCenter: String?) {
        self.narrowing = narrowing
        self.costCenter = costCenter
    }

    /// As it is stored. A stored pattern is valid; one that were not would match nothing.
    package init(models: [String]?, features: [String]?, dataClasses: [String]?, costCenter: String?) {
        self.init(
            narrowing: Narrowing(
                models: models?.compactMap { ModelPattern($0) },
                features: features,
                dataClasses: dataClasses
            ),
            costCenter: costCenter
        )
    }

    package var models: [String]? { narrowing.models?.map(\.text) }
    package var features: [String]? { narrowing.features?.map(\.text).sorted() }
    package var dataClasses: [String]? { narrowing.dataClasses?.map(\.text).sorted() }
}

extension CredentialNarrowing {
    /// Reads `models`, `features`, `data_classes` and `cost_center`; each may be left out or null.
    package static func read(_ fields: JSONObjectReader) -> CredentialNarrowing {
        CredentialNarrowing(
            narrowing: Narrowing(
                models: fields.modelPatterns("models"),
                features: fields.nonEmptyStrings("features"),
                dataClasses: fields.nonEmptyStrings("data_classes")
            ),
            costCenter: fields.optionalString("cost_center")
        )
    }

    /// Reads a merge patch (RFC 7396): a member left out stays, null clears.
    package func patched(_ fields: JSONObjectReader, in body: JSONValue) -> CredentialNarrowing {
        let new = Self.read(fields)
        return CredentialNarrowing(
            narrowing: Narrowing(
                models: body["models"] == nil ? narrowing.models : new.narrowing.models,
                features: body["features"] == nil ? features : new.features,
                dataClasses: body["data_classes"] == nil ? dataClasses : new.dataClasses
            ),
            costCenter: body["cost_center"] == nil ? costCenter : new.costCenter
        )
    }

    /// The members by which it allows more than the principal has itself.
    fileprivate func members(widerThan principal: Principal) -> [String] {
        let own = principal.narrowing
        var wider: [String] = []
        if let held = own.models {
            let isWithin = narrowing.models.map { $0.allSatisfy { new in held.contains { $0.covers(new) } } } ?? false
            if !isWithin { wider.append("models") }
        }
        if let held = own.features, !(narrowing.features?.isSubset(of: held) ?? false) { wider.append("features") }
        if let held = own.dataClasses, !(narrowing.dataClasses?.isSubset(of: held) ?? false) {
            wider.append("data_classes")
        }
        if let held = principal.attribution.costCenter, costCenter != held { wider.append("cost_center") }
        return wider
    }
}

extension Principal {
    /// Nobody grants what it does not have: throws the 403 that names the scopes, or points at the members of the
    /// narrowing, that go beyond this credential's own.
    package func requireMayGrant(_ scopes: ScopeSet, _ granted: CredentialNarrowing) throws(Problem) {
        try requireMayGrant(scopes)
        let wider = granted.members(widerThan: self)
        guard wider.isEmpty else {
            throw Problem(
                .forbidden,
                code: "narrowing_not_held",
                detail: "This credential is narrowed itself and can't grant more than it may use.",
                errors: wider.map {
                    FieldFault(
                        pointer: "/\($0)",
                        code: "wider_than_own",
                        detail: "\"\($0)\" must be within what this credential has."
                    )
                }
            )
        }
    }

    /// The same of scopes alone, for credentials that use nothing.
    package func requireMayGrant(_ scopes: ScopeSet) throws(Problem) {
        let beyond = scopes.subtracting(self.scopes)
        guard beyond.isEmpty else {
            throw .forbidden(
                code: "scope_not_held",
                detail: "This credential can't grant what it does not have: \(beyond.names.joined(separator: ", "))."
            )
        }
    }
}

extension TenantDirectory {
    /// The tenant a new credential is bound to, `operatorWide` for none. A maker that is bound itself binds to its own
    /// tenant, whether it says so or not; any other is to it like one that does not exist.
    package func grantedTenant(named key: String?, by principal: Principal) async throws -> TenantID {
        guard let key else { return principal.tenantID ?? .operatorWide }
        guard let tenant = try await tenant(key), principal.mayAccess(tenant: tenant) else {
            throw Problem.validationFailed([
                FieldFault(pointer: "/tenant", code: "unknown_tenant", detail: "There is no tenant '\(key)'.")
            ])
        }
        return tenant
    }
}

extension JSONObjectReader {
    /// What a credential may do: the scopes of `scopes`, those of `preset`, or both together. Nil, without a fault,
    /// when neither is there.
    package func optionalScopes() -> ScopeSet? {
        guard contains("scopes") || contains("preset") else { return nil }
        var scopes: ScopeSet = []
        if contains("scopes") {
            for (index, name) in strings("scopes", minimumCount: 1).enumerated() {
                guard let known = ScopeSet(name: name) else {
                    let nearest = Nearest.name(to: name, among: Scope.allCases.map(\.rawValue))
                    let hint = nearest.map { "; do you mean '\($0)'?" } ?? ""
                    let detail = "there is no scope '\(name)'\(hint)"
                    fault(at: "scopes/\(index)", code: "unknown_scope", detail: detail)
                    continue
                }
                scopes.formUnion(known)
            }
        }
        if contains("preset"), let preset = choice("preset", of: ScopePreset.self) { scopes.formUnion(preset.scopes) }
        return scopes
    }

    /// As `optionalScopes`, with a fault when neither member is there.
    package func scopes() -> ScopeSet {
        if let scopes = optionalScopes() { return scopes }
        fault(at: "scopes", code: "required", detail: "\"scopes\" or \"preset\" is required")
        return []
    }

    fileprivate func nonEmptyStrings(_ name: String) -> [String]? {
        contains(name) ? strings(name, minimumCount: 1) : nil
    }

    fileprivate func modelPatterns(_ name: String) -> [ModelPattern]? {
        guard let texts = nonEmptyStrings(name) else { return nil }
        var patterns: [ModelPattern] = []
        for (index, text) in texts.enumerated() {
            guard let pattern = ModelPattern(text) else {
                let detail = "\"\(text)\" must be a model's name, or the start of one followed by *"
                fault(at: "\(name)/\(index)", code: "invalid_element", detail: detail)
                continue
            }
            patterns.append(pattern)
        }
        return patterns
    }
}
