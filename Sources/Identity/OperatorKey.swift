import BillingCore
package import Logging
package import Postgres
package import Web

/// `TURNPIKE_OPERATOR_KEY`: an operator-wide key with every scope that exists after start, from which the others are
/// made.
package enum OperatorKey {
    /// Makes the key valid and revokes the one an earlier value of the variable made. Starting again with the same
    /// value changes nothing, and what was revoked stays revoked: a start with it says so in the log and goes on.
    package static func ensure(
        _ text: APIKeyText,
        pool: PostgresPool,
        clock: Clock,
        ids: IDSource,
        logger: Logger
    ) async throws {
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
        let isRevoked = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            if try APIKeyStore.isRevoked(key, secretHash: text.secretHash, in: transaction) { return true }
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
            return false
        }
        if isRevoked {
            logger.error(
                "the key in TURNPIKE_OPERATOR_KEY was revoked and stays revoked: set a new one",
                metadata: ["credential_id": .string(text.credentialID)]
            )
        }
    }
}
