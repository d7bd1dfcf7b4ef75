import Web

extension IntrusionAttempt {
    /// Every way to name somebody's webhook endpoints and deliveries.
    static func webhookForms(
        _ plain: IntrusionAttempt,
        _ names: TwoTenants.Names,
        _ own: TwoTenants.Names
    ) -> [IntrusionAttempt]? {
        let inTenants = [plain, plain.asking("tenant=\(names.tenant)"), plain.asking("tenant=\(own.tenant)")]
        switch plain.operation.id {
        case "listWebhookEndpoints":
            return [plain.asking("tenant=\(names.tenant)")]
        case "createWebhookEndpoint":
            let body = #""key": "mine", "kind": "slack", "url": "https://example.com/", "events": ["*"]"#
            return [plain.saying(#"{\#(body), "tenant": "\#(names.tenant)"}"#)]
        case "updateWebhookEndpoint":
            let moved = inTenants.map { $0.saying(#"{"url": "https://example.com/"}"#) }
            return moved + moved.map { $0.matching("\"1\"") }
        case "rotateWebhookEndpointSecret":
            return inTenants + inTenants.map { $0.saying(#"{"overlap_seconds": 0}"#) }
        case "getWebhookEndpoint", "deleteWebhookEndpoint", "testWebhookEndpoint":
            return inTenants + [plain.matching("\"1\"")]
        case "listDeliveries":
            return [
                "tenant=\(names.tenant)", "endpoint=\(names.webhookEndpoint)",
                "tenant=\(own.tenant)&endpoint=\(names.webhookEndpoint)",
            ].map(plain.asking)
        case "getDelivery", "retryDelivery":
            return [plain]
        default:
            return nil
        }
    }
}
