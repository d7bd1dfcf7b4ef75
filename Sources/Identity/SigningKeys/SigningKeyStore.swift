import BillingCore
import Postgres
import Web

/// The table `signing_key`.
enum SigningKeyStore {
    /// More keys than rotation ever keeps.
    private static let limit = 1_000
    /// Held while the keys are changed, so that of many replicas one does it.
    private static let lockID: Int64 = 0x7475_726E_6B65_7973

    static func all(pool: PostgresPool) async throws -> [SigningKey] {
        try await pool.query(.worker, select, key)
    }

    /// Waits for the replica that changes the keys now, and reads them as it left them.
    static func lock(in transaction: borrowing Transaction) throws -> [SigningKey] {
        try transaction.execute("SELECT pg_advisory_xact_lock(\(lockID))")
        return try transaction.query(select, key)
    }

    static func insert(_ key: SigningKey, in transaction: borrowing Transaction) {
        transaction.enqueue(
            """
            INSERT INTO signing_key (tenant_id, key_id, algorithm, public_jwk, sealed_private_key, created_at,
                signs_from)
            VALUES (\(TenantID.operatorWide), \(key.id), \(key.algorithm.rawValue),
                \(PostgresJSON(text: key.publicJWK.text)), \(PostgresBytes(bytes: key.sealedPrivateKey)),
                \(key.createdAt), \(key.signsFrom))
            """
        )
        CredentialChanges.announceSigningKeys(in: transaction)
    }

    static func delete(_ ids: [String], in transaction: borrowing Transaction) {
        transaction.enqueue(
            "DELETE FROM signing_key WHERE tenant_id = \(TenantID.operatorWide) AND key_id = ANY (\(ids))"
        )
        CredentialChanges.announceSigningKeys(in: transaction)
    }

    private static var select: SQL {
        """
        SELECT key_id, algorithm, public_jwk, sealed_private_key, created_at, signs_from
        FROM signing_key
        WHERE tenant_id = \(TenantID.operatorWide)
        ORDER BY signs_from, key_id
        LIMIT \(limit)
        """
    }

    @Sendable private static func key(_ row: inout PostgresRow) throws(PostgresError) -> SigningKey {
        let (id, algorithm) = (try row.next(String.self), try row.next(String.self))
        let publicJWK = try row.next(PostgresJSON.self).text
        return SigningKey(
            id: id,
            algorithm: SignatureAlgorithm(rawValue: algorithm) ?? .es256,
            publicJWK: (try? JSONValue(parsing: publicJWK)) ?? .null,
            sealedPrivateKey: try row.next(PostgresBytes.self).bytes,
            createdAt: try row.next(),
            signsFrom: try row.next()
        )
    }
}
