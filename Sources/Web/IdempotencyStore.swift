import BillingCore
import HTTPTypes
import Postgres

/// The table `idempotency_key`.
enum IdempotencyStore {
    /// Takes the claim for this transaction, or throws 409 when another transaction holds it. Returns the stored
    /// answer, if there is one that is still valid.
    ///
    /// The lock ends with the transaction, after its rows are visible. The row is read in a statement of its own after
    /// the lock (READ COMMITTED), so it is seen by whoever gets the lock next.
    static func claim(
        _ claim: IdempotencyClaim,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws -> StoredAnswer? {
        guard try transaction.tryLock(claim.lockID) else {
            throw Problem(
                .conflict,
                code: "idempotency_key_in_use",
                detail: "The first request with this Idempotency-Key is still running.",
                headers: [.retryAfter: "1"]
            )
        }
        let cutoff = now.adding(seconds: -IdempotentWrites.retentionSeconds)
        return try transaction.first(
            """
            SELECT request_hash, status, content_type, headers, body, encrypted
            FROM idempotency_key
            WHERE tenant_id = \(claim.tenantID) AND credential_id = \(claim.credentialID)
              AND operation = \(claim.operationID) AND key_hash = \(PostgresBytes(bytes: claim.keyHash))
              AND created_at > \(cutoff)
            """
        ) { row throws(PostgresError) in
            StoredAnswer(
                requestHash: try row.next(PostgresBytes.self).bytes,
                status: try row.next(Int32.self),
                contentType: try row.next(String.self),
                headers: headers(try row.next(PostgresJSON.self).text),
                body: try row.next(PostgresBytes.self).bytes,
                isEncrypted: try row.next(Bool.self)
            )
        }
    }

    /// Sent with COMMIT. An expired row of the same key makes room.
    static func keep(
        _ claim: IdempotencyClaim,
        answer: StoredAnswer,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        let headers = JSONValue.object(answer.headers.map { JSONMember(name: $0.0, value: .string($0.1)) }).text
        transaction.enqueue(
            """
            DELETE FROM idempotency_key
            WHERE tenant_id = \(claim.tenantID) AND credential_id = \(claim.credentialID)
              AND operation = \(claim.operationID) AND key_hash = \(PostgresBytes(bytes: claim.keyHash))
            """
        )
        transaction.enqueue(
            """
            INSERT INTO idempotency_key (tenant_id, credential_id, operation, key_hash, request_hash, status,
                content_type, headers, body, encrypted, created_at)
            VALUES (\(claim.tenantID), \(claim.credentialID), \(claim.operationID),
                \(PostgresBytes(bytes: claim.keyHash)), \(PostgresBytes(bytes: answer.requestHash)), \(answer.status),
                \(answer.contentType), \(PostgresJSON(text: headers)),
                \(PostgresBytes(bytes: answer.body)), \(answer.isEncrypted), \(now))
            """
        )
    }

    /// Removes up to `maximumCount` expired rows and tells how many there were.
    static func removeExpired(pool: PostgresPool, now: Instant, maximumCount: Int) async throws -> Int {
        let cutoff = now.adding(seconds: -IdempotentWrites.retentionSeconds)
        return try await pool.execute(
            .worker,
            """
            DELETE FROM idempotency_key
            WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM idempotency_key WHERE created_at <= \(cutoff) ORDER BY created_at LIMIT \(maximumCount)
            ))
            """
        )
    }

    private static func headers(_ text: String) -> [(String, String)] {
        guard case .object(let members)? = try? JSONValue(parsing: text) else { return [] }
        return members.compactMap { member in
            if case .string(let value) = member.value { (member.name, value) } else { nil }
        }
    }
}
