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
            for change in replaced.map(Change.init(revoked:)) + (isChanged ? [Change(created: key)] : []) {
                try AuditLog.record(
                    in: transaction,
                    by: AuditAuthor(
                        credentialID: "configuration",
                        requestID: "start",
                        id: ids.next(),
                        occurredAt: now
                    ),
                    action: change.action,
                    resource: ("api_key", change.after.id),
                    tenant: .operatorWide,
                    before: change.before,
                    after: change.after
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

    /// Warns of a key that an earlier value of the variable made and that is valid still: a start without the variable
    /// revokes nothing.
    package static func warnOfEarlier(pool: PostgresPool, logger: Logger) async throws {
        for id in try await APIKeyStore.validEnvironmentKeys(pool: pool) {
            logger.warning(
                """
                TURNPIKE_OPERATOR_KEY is not set, and the key that it made before is valid still, with every scope: \
                DELETE /api/v1/api-keys/\(id) revokes it
                """,
                metadata: ["credential_id": "key:\(id)"]
            )
        }
    }

    /// What the audit log says of a key.
    private struct Change {
        let action: String
        let before: APIKeyBody?
        let after: APIKeyBody

        init(created key: APIKey) {
            action = "api_key.created"
            before = nil
            after = APIKeyBody(key, tenantKey: nil)
        }

        init(revoked key: APIKey) {
            var valid = key
            valid.revokedAt = nil
            action = "api_key.revoked"
            before = APIKeyBody(valid, tenantKey: nil)
            after = APIKeyBody(key, tenantKey: nil)
        }
    }
}
