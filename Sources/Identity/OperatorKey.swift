import BillingCore
package import Postgres
package import Web

/// `TURNPIKE_OPERATOR_KEY`: an operator-wide key with every scope that exists after start, from which the others are
/// made.
package enum OperatorKey {
    /// Makes the key valid and revokes the one an earlier value of the variable made. Starting again with the same
    /// value changes nothing.
    package static func ensure(_ text: APIKeyText, pool: PostgresPool, clock: Clock, ids: IDSource) async throws {
        let now = clock.now()
        let key = APIKey(
            id: text.id,
            tenantID: .operatorWide,
            name: "operator (TURNPIKE_OPERATOR_KEY)",
            scopes: .all,
            origin: .environment,
            createdAt: now,
            expiresAt: nil
        )
        try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let (replaced, isChanged) = try APIKeyStore.replaceEnvironmentKey(
                key,
                secretHash: text.secretHash,
                in: transaction
            )
            let revocations = replaced.map { ("api_key.revoked", $0) }
            for (action, id) in revocations + (isChanged ? [("api_key.created", key.id)] : []) {
                try AuditLog.record(
                    in: transaction,
                    by: AuditAuthor(
                        credentialID: "configuration",
                        requestID: "start",
                        id: ids.next(),
                        occurredAt: now
                    ),
                    action: action,
                    resource: ("api_key", id),
                    tenant: .operatorWide,
                    after: id == key.id ? APIKeyBody(key, tenantKey: nil) : nil
                )
            }
        }
    }
}
