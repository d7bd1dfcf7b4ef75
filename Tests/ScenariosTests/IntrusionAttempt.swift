import TestSupport
import Web

/// One request by which a tenant might reach what is not its own.
struct IntrusionAttempt: Sendable, CustomStringConvertible {
    let operation: Web.Operation
    var path: String
    var body: String?
    var headers: [String: String] = [:]

    var description: String { "\(operation.id) \(path) \(body ?? "") \(headers)" }

    func send(_ client: TestClient) async throws -> TestResponse {
        var headers = headers
        // The answer bears it, and two answers are compared.
        headers["X-Request-Id"] = "intrusion"
        return try await client.send(
            "\(operation.method)",
            path,
            body: body.map { Array($0.utf8) },
            headers: headers
        )
    }

    /// Every way to name somebody's things in the operation; nil when nobody has thought about it yet.
    static func all(
        of operation: Web.Operation,
        naming names: TwoTenants.Names,
        by own: TwoTenants.Names
    ) -> [IntrusionAttempt]? {
        if sharedCatalogue.contains(operation.id) { return [] }
        let path = path(of: operation, naming: names)
        let plain = IntrusionAttempt(operation: operation, path: path)
        let forms: [IntrusionAttempt]? =
            switch operation.id {
            case "listTenants": []
            case "getTenant", "getSubscription", "getApiKey", "revokeApiKey", "getClient", "listQuotas", "getSpendCap",
                "getInvoice", "getUpcomingInvoice", "getInvoicePage", "getInvoicePDF", "getInvoiceCSV",
                "explainInvoice", "getAlert", "listCreditGrants", "listPortalSessions", "listDiscounts",
                "listInvoiceCreditNotes", "getCreditNote", "getCreditNotePage", "getCreditNotePDF",
                "listTenantInvoices", "acknowledgeAlert":
                [plain]
            case "createPortalSession": [plain, plain.saying(#"{"ttl_seconds": 60}"#)]
            case "getCreditGrant", "listCreditApplications", "getDiscount", "revokePortalSession":
                [plain, plain.naming(tenant: own.tenant, insteadOf: names.tenant)]
            case "getQuota": [plain, plain.asking("window=day")]
            case "suspendTenant", "resumeTenant", "cancelSubscription", "voidCreditGrant", "endDiscount",
                "revokeClient", "rotateClientSecret", "finalizeInvoice", "voidInvoice", "payInvoice",
                "markInvoiceUncollectible", "reissueInvoice":
                [plain, plain.matching("\"1\""), plain.matching("\"99\"")]
            case "changeSubscription":
                [
                    plain.saying(#"{"plan": "pair"}"#), plain.saying(#"{"plan": "pair", "dry_run": true}"#),
                    plain.saying(#"{"plan": "pair"}"#).matching("\"99\""),
                ]
            case "withdrawSubscriptionChanges", "resumeSubscription":
                [plain, plain.matching("\"1\""), plain.saying(#"{"dry_run": true}"#)]
            case "overrideQuota":
                [plain.asking("window=day").saying(#"{"limit": "1"}"#), plain.saying(#"{"limit": "1"}"#)]
            case "removeQuotaOverride": [plain.asking("window=hour"), plain]
            case "updateTenant", "createTenant": tenantForms(plain, names, own)
            case "updateClient":
                [plain.saying(#"{"name": "Mine"}"#), plain.saying(#"{"enabled": false}"#).matching("\"1\"")]
            case "listSubscriptions", "listApiKeys", "listClients", "exportInvoices", "listCreditNotes",
                "listInvoices", "listUnpricedUsage", "listAlerts":
                [plain.asking("tenant=\(names.tenant)")]
            case "createSubscription": [plain.saying(#"{"tenant": "\#(names.tenant)", "plan": "pair", "version": 1}"#)]
            case "createApiKey", "createClient":
                [plain.saying(#"{"name": "mine", "scopes": ["events:write"], "tenant": "\#(names.tenant)"}"#)]
            case "updateApiKey":
                [plain.saying(#"{"name": "mine"}"#), plain.saying(#"{"name": "mine"}"#).matching("\"99\"")]
            case "rotateApiKey": [plain, plain.saying(#"{"overlap_seconds": 60}"#), plain.matching("\"1\"")]
            case "tryPlanVersion": [plain.saying(#"{"plan": "pair", "version": 1}"#)]
            case "createCreditGrant": [plain.saying(#"{"name": "mine", "kind": "prepaid", "amount": "1000"}"#)]
            case "createDiscount": [plain.saying(#"{"name": "mine", "percent": "100", "duration": "forever"}"#)]
            case "createCreditNote": [plain.saying(#"{"amount": "1", "reason": "mine"}"#)]
            case "listAuditLog", "exportAuditLog": auditForms(plain, names)
            case "listEvents", "ingestEvents", "voidEvent", "replayUnmeteredEvents": eventForms(plain, names, own)
            case "listUnmatchedEvents": [names.subject, names.tenant + "-lost"].map { plain.asking("subject=\($0)") }
            case "replayUnmatchedEvents": [plain.saying(#"{"subject": "\#(names.subject)"}"#)]
            default: furtherForms(plain, names, own)
            }
        guard let forms, "\(operation.method)" != "GET" else { return forms }
        return forms + forms.map { $0.with("Idempotency-Key", names.idempotencyKey) }
    }

    /// The operation's path about somebody's things.
    static func path(of operation: Web.Operation, naming names: TwoTenants.Names) -> String {
        operation.path
            .replacing("/budgets/{key}", with: "/budgets/\(names.budget)")
            .replacing("/webhook-endpoints/{key}", with: "/webhook-endpoints/\(names.webhookEndpoint)")
            .replacing("{key}", with: names.tenant)
            .replacing("{feature}", with: "tokens")
            .replacing("{id}", with: id(in: operation.path, names))
    }

    /// What stands for `{id}`, which names what the path is about.
    private static func id(in path: String, _ names: TwoTenants.Names) -> String {
        if path.contains("/api-keys/") { return names.apiKey }
        if path.contains("/portal-sessions/") { return names.portalSession }
        if path.contains("/clients/") { return names.client }
        if path.contains("/credit-grants/") { return names.creditGrant }
        if path.contains("/discounts/") { return names.discount }
        if path.contains("/credit-notes/") { return names.creditNote }
        if path.contains("/alerts/") { return names.alert }
        if path.contains("/admissions/") { return names.reservation }
        if path.contains("/deliveries/") { return names.delivery }
        return path.contains("/invoices/") ? names.invoice : names.subscription
    }

    /// Meters, features, plans, provider costs and mitigations belong to no tenant, and neither path nor body can name
    /// one of these.
    private static let sharedCatalogue: Set<String> = [
        "listMeters", "createMeter", "getMeter", "updateMeter", "archiveMeter",
        "listFeatures", "createFeature", "getFeature", "updateFeature", "archiveFeature",
        "listPlans", "createPlan", "getPlan", "updatePlan",
        "listPlanVersions", "createPlanVersion", "getPlanVersion", "replacePlanVersion", "deletePlanVersion",
        "publishPlanVersion",
        "listPriceBook", "createPrice", "getPrice", "deletePrice",
        "listFxRates", "createFxRate", "getFxRate", "deleteFxRate",
        "listIdentityProviders", "createIdentityProvider", "getIdentityProvider", "replaceIdentityProvider",
        "deleteIdentityProvider", "getMitigation", "liftMitigation",
    ]

    private static func tenantForms(
        _ plain: IntrusionAttempt,
        _ names: TwoTenants.Names,
        _ own: TwoTenants.Names
    ) -> [IntrusionAttempt] {
        if plain.operation.id == "createTenant" {
            return [
                plain.saying(#"{"key": "\#(names.tenant)", "name": "Mine", "currency": "USD"}"#),
                plain.saying(#"{"key": "mine", "name": "Mine", "currency": "USD", "subjects": ["\#(names.subject)"]}"#),
            ]
        }
        let mine = plain.naming(tenant: own.tenant, insteadOf: names.tenant)
        let renamed = plain.saying(#"{"name": "Mine"}"#)
        return [
            renamed, renamed.matching("\"1\""), renamed.matching("\"99\""),
            mine.saying(#"{"subjects": ["\#(names.subject)"]}"#),
        ]
    }

    /// Of resources that have a function of their own.
    private static func furtherForms(
        _ plain: IntrusionAttempt,
        _ names: TwoTenants.Names,
        _ own: TwoTenants.Names
    ) -> [IntrusionAttempt]? {
        budgetForms(plain, names, own) ?? webhookForms(plain, names, own) ?? admissionForms(plain, names)
            ?? mitigationForms(plain, names)
    }

    private static func mitigationForms(_ plain: IntrusionAttempt, _ names: TwoTenants.Names) -> [IntrusionAttempt]? {
        switch plain.operation.id {
        case "listMitigations": [plain.asking("tenant=\(names.tenant)")]
        case "createMitigation":
            [plain.saying(#"{"scope": {"tenant": "\#(names.tenant)"}, "reason": "mine", "ttl_seconds": 60}"#)]
        default: nil
        }
    }

    private static func budgetForms(
        _ plain: IntrusionAttempt,
        _ names: TwoTenants.Names,
        _ own: TwoTenants.Names
    ) -> [IntrusionAttempt]? {
        let inTenants = [plain, plain.asking("tenant=\(names.tenant)"), plain.asking("tenant=\(own.tenant)")]
        switch plain.operation.id {
        case "listBudgets":
            return [plain.asking("tenant=\(names.tenant)"), plain.asking("tenant=\(names.tenant)&measure=cost")]
        case "createBudget":
            let body = #""key": "mine", "measure": "requests", "amount": "1", "window": "day""#
            return [
                plain.saying(#"{\#(body), "scope": {"tenant": "\#(names.tenant)"}}"#),
                plain.saying(#"{\#(body), "scope": {"tenant": "\#(names.tenant)", "user": "*"}}"#),
            ]
        case "updateBudget":
            let raised = inTenants.map { $0.saying(#"{"amount": "1000"}"#) }
            return raised + raised.map { $0.matching("\"1\"") }
        case "getBudget", "listBudgetStatus", "archiveBudget":
            return inTenants + [plain.matching("\"1\"")]
        default:
            return nil
        }
    }

    private static func auditForms(_ plain: IntrusionAttempt, _ names: TwoTenants.Names) -> [IntrusionAttempt] {
        [
            "tenant=\(names.tenant)", "resource=tenant:\(names.tenant)", "resource=api_key:\(names.apiKey)",
            "resource=portal_session:\(names.portalSession)",
            "resource=client:\(names.client)", "resource=budget:\(names.budget)",
            "resource=webhook_endpoint:\(names.webhookEndpoint)",
            "resource=subscription:\(names.subscription)", "resource=event:\(names.event)",
        ].map(plain.asking)
    }

    private static func admissionForms(_ plain: IntrusionAttempt, _ names: TwoTenants.Names) -> [IntrusionAttempt]? {
        switch plain.operation.id {
        case "admit":
            return [names.tenant, names.subject].flatMap { subject in
                let call = names.admission(of: subject)
                return [
                    plain.saying(call), plain.saying("[\(call), \(call)]"),
                    plain.saying(names.admission(of: subject, more: #", "dry_run": true"#)),
                    plain.saying(names.admission(of: subject, more: #", "min_output_tokens": 1"#)),
                ]
            }
        case "checkAdmission", "checkPosted":
            return [names.tenant, names.subject].flatMap { subject in
                let check = plain.with("X-Turnpike-Subject", subject)
                return [check, check.with("X-Turnpike-Reserve", "true").with("X-Turnpike-Id", "\(names.event)-call")]
            }
        case "getAdmission", "releaseAdmission", "extendAdmission":
            return [plain, plain.saying(#"{"ttl_seconds": 60}"#), plain.saying("{}")]
        default:
            return nil
        }
    }

    private static func eventForms(
        _ plain: IntrusionAttempt,
        _ names: TwoTenants.Names,
        _ own: TwoTenants.Names
    ) -> [IntrusionAttempt] {
        switch plain.operation.id {
        case "listEvents":
            return [
                "tenant=\(names.tenant)", "source=\(names.source)", "tenant=\(own.tenant)&source=\(names.source)",
                "tenant=\(names.tenant)&source=\(names.source)", "user=\(names.tenant)-user-0",
                "client=key:\(names.apiKey)",
            ].map(plain.asking)
        case "replayUnmeteredEvents":
            return ["llm.completion", "job"].map {
                plain.saying(#"{"type": "\#($0)", "tenant": "\#(names.tenant)"}"#)
            }
        case "voidEvent":
            return [(names, names), (own, names), (names, own)].map { tenant, event in
                plain.saying(#"{"source": "\#(event.source)", "id": "\#(event.event)", "tenant": "\#(tenant.tenant)"}"#)
            }
        default:
            let settling = #", "reservationid": "\#(names.reservation)""#
            let settlements = ["", #", "reservationpartial": true"#].enumerated().map { index, partial in
                plain.saying(event("settles-\(names.tenant)-\(index)", own.tenant, more: settling + partial))
            }
            let own = event("own-1", own.tenant)
            let binary = [
                "ce-specversion": "1.0", "ce-id": "intruder", "ce-source": "intruder", "ce-type": "llm.completion",
                "ce-subject": names.tenant,
            ]
            return [names.tenant, names.subject].flatMap { subject in
                let foreign = event("intruder", subject)
                return [
                    plain.saying(foreign),
                    plain.saying("[\(own), \(foreign)]"),
                    plain.saying("[\(foreign), \(foreign)]").with("Prefer", "handling=lenient"),
                    plain.saying(foreign).with("Content-Type", "application/cloudevents+json"),
                ]
            } + settlements + [binary.reduce(plain.saying(#"{"output_tokens": 1}"#)) { $0.with($1.key, $1.value) }]
        }
    }

    private static func event(_ id: String, _ subject: String, more: String = "") -> String {
        """
        {"specversion": "1.0", "id": "\(id)", "source": "intruder", "type": "llm.completion", "subject": "\(subject)",
         "data": {"output_tokens": 1}\(more)}
        """
    }

    private func naming(tenant: String, insteadOf other: String) -> IntrusionAttempt {
        var copy = self
        copy.path = path.replacing("/tenants/\(other)", with: "/tenants/\(tenant)")
        return copy
    }

    func asking(_ query: String) -> IntrusionAttempt {
        var copy = self
        copy.path += "?" + query
        return copy
    }

    func saying(_ body: String) -> IntrusionAttempt {
        var copy = self
        copy.body = body
        return copy
    }

    func matching(_ tag: String) -> IntrusionAttempt {
        with("If-Match", tag)
    }

    private func with(_ name: String, _ value: String) -> IntrusionAttempt {
        var copy = self
        copy.headers[name] = value
        return copy
    }
}
