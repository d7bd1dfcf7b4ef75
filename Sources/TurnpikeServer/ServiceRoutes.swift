import HTTPTypes
import Postgres
import Web

/// What the operator of the service asks it: probes, metrics and documents. Open to everybody who can reach the port,
/// and without anything of a tenant.
struct ServiceRoutes: Sendable {
    let readiness: Readiness
    let registry: PrometheusRegistry

    func register(in operations: Operations) {
        add("/healthz", "getHealth", operations) { _, _ in try .json(["status": "alive"]) }
        add("/readyz", "getReadiness", operations) { _, _ in
            try await readiness.check()
            return try .json(["status": "ready"])
        }
        add("/metrics", "getMetrics", operations) { _, _ in
            .text(registry.exposition(), contentType: PrometheusText.contentType)
        }
        add("/openapi.yaml", "getOpenApi", operations) { _, _ in
            Answer(contentType: "application/yaml", bytes: EmbeddedFiles.openAPI)
        }
        let rooms = operations.operations
        let page = DocsPage.html(rooms)
        add("/docs", "getDocs", operations) { _, _ in
            var answer = Answer.text(page, contentType: "text/html; charset=utf-8")
            answer.headers[.contentSecurityPolicy] =
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
            return answer
        }
    }

    private func add(_ path: String, _ id: String, _ operations: Operations, handler: @escaping Operations.Handler) {
        operations.add(.get, fullPath: path, id: id, access: .open, isQuiet: true, handler: handler)
    }
}
