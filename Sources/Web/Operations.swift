package import HTTPTypes

/// The operations of the service, as the rooms register them. The same list routes requests, answers 405 with
/// what is allowed, and is compared with the contract by a test.
package final class Operations {
    package typealias Handler = @Sendable (APIRequest, RequestContext) async throws -> Answer

    package struct Route: Sendable {
        package let operation: Operation
        package let handler: Handler
    }

    package static let basePath = "/api/v1"

    package private(set) var routes: [Route] = []
    private let bodyLimitBytes: Int

    package init(bodyLimitBytes: Int = Operation.defaultBodyLimitBytes) {
        self.bodyLimitBytes = bodyLimitBytes
    }

    package var operations: [Operation] { routes.map(\.operation) }

    /// Registers an operation under its full path. The verbs below put `/api/v1` before theirs.
    package func add(
        _ method: HTTPRequest.Method,
        fullPath: String,
        id: String,
        access: Operation.Access,
        bodyLimitBytes: Int? = nil,
        mediaTypes: [String] = Operation.json,
        isQuiet: Bool = false,
        isBrief: Bool = false,
        endsWithClient: Bool = false,
        isAnsweredInOutage: Bool = false,
        tellsSuspension: Bool = false,
        readsQuery: Bool = true,
        handler: @escaping Handler
    ) {
        let operation = Operation(
            id: id,
            method: method,
            path: fullPath,
            access: access,
            bodyLimitBytes: bodyLimitBytes ?? self.bodyLimitBytes,
            mediaTypes: mediaTypes,
            isQuiet: isQuiet,
            isBrief: isBrief,
            endsWithClient: endsWithClient,
            isAnsweredInOutage: isAnsweredInOutage,
            tellsSuspension: tellsSuspension,
            readsQuery: readsQuery
        )
        precondition(
            !routes.contains {
                $0.operation.id == id || ($0.operation.method == method && $0.operation.path == fullPath)
            },
            "operation \(id) (\(method) \(fullPath)) is registered twice"
        )
        routes.append(Route(operation: operation, handler: handler))
    }

    package func get(
        _ path: String,
        _ id: String,
        scope: ScopeSet,
        isQuiet: Bool = false,
        isBrief: Bool = false,
        isAnsweredInOutage: Bool = false,
        handler: @escaping Handler
    ) {
        add(
            .get,
            fullPath: Self.basePath + path,
            id: id,
            access: .anyOf(scope),
            isQuiet: isQuiet,
            isBrief: isBrief,
            isAnsweredInOutage: isAnsweredInOutage,
            handler: handler
        )
    }

    package func post(
        _ path: String,
        _ id: String,
        scope: ScopeSet,
        bodyLimitBytes: Int? = nil,
        mediaTypes: [String] = Operation.json,
        isQuiet: Bool = false,
        isBrief: Bool = false,
        endsWithClient: Bool = false,
        isAnsweredInOutage: Bool = false,
        tellsSuspension: Bool = false,
        readsQuery: Bool = false,
        handler: @escaping Handler
    ) {
        add(
            .post,
            fullPath: Self.basePath + path,
            id: id,
            access: .anyOf(scope),
            bodyLimitBytes: bodyLimitBytes,
            mediaTypes: mediaTypes,
            isQuiet: isQuiet,
            isBrief: isBrief,
            endsWithClient: endsWithClient,
            isAnsweredInOutage: isAnsweredInOutage,
            tellsSuspension: tellsSuspension,
            readsQuery: readsQuery,
            handler: handler
        )
    }

    package func put(
        _ path: String,
        _ id: String,
        scope: ScopeSet,
        readsQuery: Bool = false,
        handler: @escaping Handler
    ) {
        addWrite(.put, path, id, scope, readsQuery, handler)
    }

    package func patch(
        _ path: String,
        _ id: String,
        scope: ScopeSet,
        readsQuery: Bool = false,
        handler: @escaping Handler
    ) {
        addWrite(
            .patch,
            path,
            id,
            scope,
            mediaTypes: ["application/json", "application/merge-patch+json"],
            readsQuery,
            handler
        )
    }

    package func delete(
        _ path: String,
        _ id: String,
        scope: ScopeSet,
        readsQuery: Bool = false,
        handler: @escaping Handler
    ) {
        addWrite(.delete, path, id, scope, readsQuery, handler)
    }

    private func addWrite(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ id: String,
        _ scope: ScopeSet,
        mediaTypes: [String] = Operation.json,
        _ readsQuery: Bool,
        _ handler: @escaping Handler
    ) {
        add(
            method,
            fullPath: Self.basePath + path,
            id: id,
            access: .anyOf(scope),
            mediaTypes: mediaTypes,
            readsQuery: readsQuery,
            handler: handler
        )
    }
}

extension ScopeSet {
    package static let eventsWrite = ScopeSet(Scope.eventsWrite)
    package static let eventsRead = ScopeSet(Scope.eventsRead)
    package static let eventsBackfill = ScopeSet(Scope.eventsBackfill)
    package static let admissionsWrite = ScopeSet(Scope.admissionsWrite)
    package static let quotasRead = ScopeSet(Scope.quotasRead)
    package static let tenantsRead = ScopeSet(Scope.tenantsRead)
    package static let tenantsWrite = ScopeSet(Scope.tenantsWrite)
    package static let catalogRead = ScopeSet(Scope.catalogRead)
    package static let catalogWrite = ScopeSet(Scope.catalogWrite)
    package static let subscriptionsRead = ScopeSet(Scope.subscriptionsRead)
    package static let subscriptionsWrite = ScopeSet(Scope.subscriptionsWrite)
    package static let budgetsRead = ScopeSet(Scope.budgetsRead)
    package static let budgetsWrite = ScopeSet(Scope.budgetsWrite)
    package static let invoicesRead = ScopeSet(Scope.invoicesRead)
    package static let invoicesWrite = ScopeSet(Scope.invoicesWrite)
    package static let reportsRead = ScopeSet(Scope.reportsRead)
    package static let webhooksRead = ScopeSet(Scope.webhooksRead)
    package static let webhooksWrite = ScopeSet(Scope.webhooksWrite)
    package static let identityWrite = ScopeSet(Scope.identityWrite)
    package static let guardWrite = ScopeSet(Scope.guardWrite)
    package static let auditRead = ScopeSet(Scope.auditRead)
}
