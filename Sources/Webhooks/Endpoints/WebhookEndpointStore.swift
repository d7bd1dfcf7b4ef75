import BillingCore
import Postgres
import Web

/// The table `webhook_endpoint`.
enum WebhookEndpointStore {
    /// Within an owner, so that an event is never told to any number of places.
    static let maximumCount = 100

    enum Insertion: Sendable {
        case inserted, taken, full
    }

    static func insert(
        _ endpoint: WebhookEndpoint,
        sealedSecret: [UInt8]?,
        sealedURL: [UInt8]? = nil,
        in transaction: borrowing Transaction
    ) throws -> Insertion {
        // One owner's are made one after the other, so that they are counted.
        let owner = "webhook endpoints of \(endpoint.id.tenant)"
        transaction.enqueue("SELECT pg_advisory_xact_lock(hashtextextended(\(owner), 0))")
        let counts = try transaction.first(
            """
            SELECT count(*), count(*) FILTER (WHERE endpoint_key = \(endpoint.id.key))
            FROM webhook_endpoint WHERE tenant_id = \(endpoint.id.tenant)
            """
        ) { row throws(PostgresError) in (all: try row.next(Int64.self), same: try row.next(Int64.self)) }
        if let counts, counts.same > 0 { return .taken }
        if let counts, counts.all >= maximumCount { return .full }
        try transaction.execute(
            """
            INSERT INTO webhook_endpoint (tenant_id, endpoint_key, kind, url, description, events, enabled, signing,
                sealed_secret, sealed_url, public_key, created_at, updated_at, revision)
            VALUES (\(endpoint.id.tenant), \(endpoint.id.key), \(endpoint.kind),
                \(sealedURL == nil ? endpoint.url : endpoint.shownURL),
                \(endpoint.description), \(endpoint.events.names), \(endpoint.isEnabled), \(endpoint.signing),
                \(sealedSecret.map { PostgresBytes(bytes: $0) }), \(sealedURL.map { PostgresBytes(bytes: $0) }),
                \(endpoint.publicKey), \(endpoint.createdAt),
                \(endpoint.updatedAt), \(endpoint.revision))
            """
        )
        return .inserted
    }

    /// - Parameter scope: the tenant's own for a bound caller, so that row-level security stands behind the filter.
    static func find(
        _ id: WebhookEndpointID,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> WebhookEndpoint? {
        try await pool.query(
            .interactive,
            as: scope,
            """
            SELECT \(columns) FROM webhook_endpoint
            WHERE tenant_id = \(id.tenant) AND endpoint_key = \(id.key)
            ORDER BY tenant_id, endpoint_key LIMIT 1
            """,
            endpoint
        ).first
    }

    /// In the order of owners and keys.
    /// - Parameter tenant: nil for those of every owner.
    static func list(
        tenant: TenantID?,
        after: WebhookEndpointID?,
        count: Int,
        scope: PostgresScope,
        pool: PostgresPool
    ) async throws -> [WebhookEndpoint] {
        var conditions: [SQL] = ["true"]
        if let tenant { conditions.append("tenant_id = \(tenant)") }
        if let after { conditions.append("(tenant_id, endpoint_key) > (\(after.tenant), \(after.key))") }
        return try await pool.query(
            .interactive,
            as: scope,
            """
            SELECT \(columns) FROM webhook_endpoint
            WHERE \(SQL.joined(conditions, separator: " AND "))
            ORDER BY tenant_id, endpoint_key
            LIMIT \(count)
            """,
            endpoint
        )
    }

    /// The endpoint locked for a change. Whoever changes an endpoint and its deliveries locks the endpoint first.
    static func lock(_ id: WebhookEndpointID, in transaction: borrowing Transaction) throws -> WebhookEndpoint? {
        try transaction.first(
            """
            SELECT \(columns) FROM webhook_endpoint
            WHERE tenant_id = \(id.tenant) AND endpoint_key = \(id.key)
            FOR NO KEY UPDATE
            """,
            endpoint
        )
    }

    /// The same, if the endpoint still is what an attempt was made at; nil when it is gone, was made anew or has
    /// another URL.
    static func lock(
        _ id: WebhookEndpointID,
        as target: ClaimedDelivery.Target,
        in transaction: borrowing Transaction
    ) throws -> WebhookEndpoint? {
        try transaction.first(
            "SELECT \(columns) FROM webhook_endpoint WHERE \(isStill(target, id)) FOR NO KEY UPDATE",
            endpoint
        )
    }

    /// - Parameters:
    ///   - before: as it is read. Events that are the same are not written: those of a later release stay among them.
    ///   - sealedURL: of a new URL that is a secret, or of one that was not sealed yet. The one that is there stays
    ///     while what is shown of it does.
    static func update(
        _ endpoint: WebhookEndpoint,
        from before: WebhookEndpoint,
        sealedURL: [UInt8]? = nil,
        in transaction: borrowing Transaction
    ) {
        let url = sealedURL == nil ? endpoint.url : endpoint.shownURL
        let sealed = sealedURL.map { PostgresBytes(bytes: $0) }
        let events: SQL = endpoint.events == before.events ? "events" : "\(endpoint.events.names)"
        transaction.enqueue(
            """
            UPDATE webhook_endpoint
            SET url = \(url), sealed_url = coalesce(\(sealed), CASE WHEN url = \(url) THEN sealed_url END),
                description = \(endpoint.description), events = \(events),
                enabled = \(endpoint.isEnabled), failing_since = \(endpoint.failingSince),
                disabled_reason = \(endpoint.disabledReason), disabled_at = \(endpoint.disabledAt),
                updated_at = \(endpoint.updatedAt), revision = \(endpoint.revision)
            WHERE tenant_id = \(endpoint.id.tenant) AND endpoint_key = \(endpoint.id.key)
            """
        )
    }

    /// Some of the URLs that are secrets and were stored as they are, by an earlier release or without a master key.
    static func plainURLs(limit: Int, pool: PostgresPool) async throws -> [(id: WebhookEndpointID, url: String)] {
        try await pool.query(
            .worker,
            """
            SELECT tenant_id, endpoint_key, url FROM webhook_endpoint
            WHERE kind = 'slack' AND sealed_url IS NULL AND url ~ '://[^/?#]*[/?#]'
            ORDER BY tenant_id, endpoint_key
            LIMIT \(limit)
            """
        ) { row throws(PostgresError) in
            (id: WebhookEndpointID(tenant: try row.next(), key: try row.next()), url: try row.next())
        }
    }

    /// Stores a URL sealed that was stored as it is, unless it was changed meanwhile. What is answered stays the same.
    static func seal(
        _ url: String,
        of id: WebhookEndpointID,
        as sealed: [UInt8],
        shown: String,
        pool: PostgresPool
    ) async throws {
        try await pool.execute(
            .worker,
            """
            UPDATE webhook_endpoint SET url = \(shown), sealed_url = \(PostgresBytes(bytes: sealed))
            WHERE tenant_id = \(id.tenant) AND endpoint_key = \(id.key) AND url = \(url) AND sealed_url IS NULL
            """
        )
    }

    /// Makes the present secret the one before it, and this one the present.
    static func rotate(_ endpoint: WebhookEndpoint, to sealedSecret: [UInt8], in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            UPDATE webhook_endpoint
            SET previous_sealed_secret = sealed_secret, previous_public_key = public_key,
                previous_secret_expires_at = \(endpoint.previousSecretExpiresAt),
                sealed_secret = \(PostgresBytes(bytes: sealedSecret)), public_key = \(endpoint.publicKey),
                updated_at = \(endpoint.updatedAt), revision = \(endpoint.revision)
            WHERE tenant_id = \(endpoint.id.tenant) AND endpoint_key = \(endpoint.id.key)
            """
        )
    }

    /// Forgets some of the secrets that sign no more, but none that takes the place of another meanwhile.
    /// - Returns: how many.
    static func clearPreviousSecrets(at now: Instant, limit: Int, pool: PostgresPool) async throws -> Int {
        try await pool.execute(
            .worker,
            """
            UPDATE webhook_endpoint
            SET previous_sealed_secret = NULL, previous_public_key = NULL, previous_secret_expires_at = NULL
            WHERE (tenant_id, endpoint_key) IN (
                SELECT tenant_id, endpoint_key FROM webhook_endpoint
                WHERE previous_secret_expires_at <= \(now)
                ORDER BY tenant_id, endpoint_key
                LIMIT \(limit)
            ) AND previous_secret_expires_at <= \(now)
            """
        )
    }

    /// Its deliveries go with it.
    static func delete(_ id: WebhookEndpointID, in transaction: borrowing Transaction) {
        transaction.enqueue(
            "DELETE FROM webhook_endpoint WHERE tenant_id = \(id.tenant) AND endpoint_key = \(id.key)"
        )
    }

    /// Keeps since when every attempt has failed, unless the endpoint is not what the attempt was made at any more. A
    /// row that says so already is not written.
    static func note(
        _ id: WebhookEndpointID,
        as target: ClaimedDelivery.Target,
        failingSince start: Instant?,
        in transaction: borrowing Transaction
    ) {
        transaction.enqueue(
            """
            UPDATE webhook_endpoint SET failing_since = \(start)
            WHERE \(isStill(target, id)) AND (failing_since IS NULL) = (\(start)::timestamptz IS NOT NULL)
            """
        )
    }

    /// Whether the endpoint is the one that an attempt was made at, and still at the same URL.
    private static func isStill(_ target: ClaimedDelivery.Target, _ id: WebhookEndpointID) -> SQL {
        """
        tenant_id = \(id.tenant) AND endpoint_key = \(id.key) AND created_at = \(target.createdAt)
            AND url = \(target.url)
            AND sealed_url IS NOT DISTINCT FROM \(target.sealedURL.map { PostgresBytes(bytes: $0) })
        """
    }

    private static let columns: SQL = """
        tenant_id, endpoint_key, kind, url, description, events, enabled, signing, public_key, previous_public_key,
            previous_secret_expires_at, failing_since, disabled_reason, disabled_at, created_at, updated_at, revision
        """

    @Sendable private static func endpoint(_ row: inout PostgresRow) throws(PostgresError) -> WebhookEndpoint {
        WebhookEndpoint(
            id: WebhookEndpointID(tenant: try row.next(), key: try row.next()),
            kind: try row.next(),
            url: try row.next(),
            description: try row.next(),
            events: WebhookEventSelection(stored: try row.next()),
            isEnabled: try row.next(),
            signing: try row.next(),
            publicKey: try row.next(),
            previousPublicKey: try row.next(),
            previousSecretExpiresAt: try row.next(),
            failingSince: try row.next(),
            disabledReason: try row.next(),
            disabledAt: try row.next(),
            createdAt: try row.next(),
            updatedAt: try row.next(),
            revision: try row.next()
        )
    }
}
