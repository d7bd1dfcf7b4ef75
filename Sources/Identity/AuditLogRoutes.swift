import BillingCore
import Postgres
import Web

/// `GET /api/v1/audit-log`, newest first, as pages or as one file.
struct AuditLogRoutes: Sendable {
    let pool: PostgresPool
    let tenants: TenantDirectory

    func register(in operations: Operations) {
        operations.get("/audit-log", "listAuditLog", scope: .auditRead) { try await list($0, $1) }
        operations.get("/audit-log/export", "exportAuditLog", scope: .auditRead) { try await export($0, $1) }
    }

    private func list(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let page = query.page()
        let filter = try await filter(query, context)
        let rows = try await AuditLogStore.list(
            filter,
            after: try position(page),
            count: page.fetchCount,
            scope: context.databaseScope,
            pool: pool
        )
        let entries = page.page(rows) { [String($0.occurredAt.microseconds), $0.id.description] }
        let keys = try await tenants.keys(of: entries.data)
        return try .json(entries.map { AuditEntryBody($0, tenantKey: keys[$0.tenantID]) })
    }

    private func export(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let query = request.query()
        let format = query.oneOf("format", ExportFormat.self) ?? .csv
        var filter = try await filter(query, context)
        // What is written while the file is made is left out, so that the file ends.
        let end = context.clock.now().adding(microseconds: 1)
        filter.to = min(filter.to ?? end, end)
        return try await AuditLogExport(
            format: format,
            filter: filter,
            scope: context.databaseScope,
            pool: pool,
            tenants: tenants
        ).answer()
    }

    /// What both operations narrow by; every parameter must have been read before.
    private func filter(_ query: QueryReader, _ context: RequestContext) async throws -> AuditLogStore.Filter {
        let tenantKey = query.string("tenant")
        var filter = AuditLogStore.Filter(
            action: query.string("action"),
            credentialID: query.string("credential_id"),
            requestID: query.string("request_id"),
            from: query.instant("from"),
            to: query.instant("to")
        )
        if let resource = query.string("resource") {
            let parts = resource.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            filter.resourceType = parts.first.map(String.init)
            filter.resourceKey = parts.count > 1 ? String(parts[1]) : nil
        }
        try query.finish()
        filter.tenant = try await tenant(named: tenantKey, context)
        return filter
    }

    private func tenant(named key: String?, _ context: RequestContext) async throws -> TenantID? {
        guard let key = try context.tenantFilter(key) else { return nil }
        if let own = context.principal.tenantID { return own }
        guard let tenant = try await tenants.tenant(key) else { throw Problem.notFound("tenant", key) }
        return tenant
    }

    private func position(_ page: PageRequest) throws(Problem) -> AuditLogStore.Position? {
        guard let after = page.after else { return nil }
        guard after.count == 2, let microseconds = Int64(after[0]), let id = UUIDv7(after[1]) else {
            throw PageRequest.invalidCursor
        }
        return AuditLogStore.Position(occurredAt: Instant(microseconds: microseconds), id: id)
    }
}

extension TenantDirectory {
    /// The keys of the tenants that entries are about.
    func keys(of entries: [AuditEntry]) async throws -> [TenantID: String] {
        try await keys(Set(entries.map(\.tenantID)).subtracting([.operatorWide]))
    }
}

/// How an entry is answered and exported.
struct AuditEntryBody: Encodable, Sendable {
    struct Resource: Encodable, Sendable {
        let type: String
        let key: String
    }

    let id: UUIDv7
    let occurredAt: Instant
    let tenant: String?
    let credentialID: String
    let requestID: String
    let action: String
    let resource: Resource
    let before: JSONValue?
    let after: JSONValue?

    init(_ entry: AuditEntry, tenantKey: String?) {
        id = entry.id
        occurredAt = entry.occurredAt
        tenant = tenantKey
        credentialID = entry.credentialID
        requestID = entry.requestID
        action = entry.action
        resource = Resource(type: entry.resourceType, key: entry.resourceKey)
        before = entry.before
        after = entry.after
    }
}
