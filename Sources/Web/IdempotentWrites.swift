import BillingCore
import Crypto
import HTTPTypes
import NIOCore
package import Postgres

/// Runs the work of a mutating operation in one transaction and, under an `Idempotency-Key`, makes sure that it
/// happens once: the claim, the work and the stored answer commit together or not at all.
///
/// - A key is scoped to (credential, operation) and holds for 24 hours.
/// - The same key while the first request still runs is 409 `idempotency_key_in_use`; with another request (method,
///   path, query or body) it is 422 `idempotency_key_reused`; otherwise the stored answer is given again with
///   `Idempotency-Replayed: true`.
/// - Only 2xx answers are stored: a refusal has changed nothing, so trying again is right.
package struct IdempotentWrites: Sendable {
    package static let retentionSeconds: Int64 = 24 * 60 * 60

    private static let attempts = 3
    private let pool: PostgresPool

    package init(pool: PostgresPool) {
        self.pool = pool
    }

    /// - Parameter body: the work. What it throws rolls everything back. It may run again after a serialization
    ///   failure or a deadlock, and with an `Idempotency-Key` after a lost connection too.
    package func perform(
        _ request: APIRequest,
        _ context: RequestContext,
        lane: PostgresLane = .interactive,
        _ body: @escaping @Sendable (borrowing Transaction) throws -> Answer
    ) async throws -> Answer {
        guard let field = request.headers[.idempotencyKey] else {
            return try await retryingRollbacks { try await pool.transaction(lane) { try body($0) } }
        }
        let claim = try IdempotencyClaim(key: field, request: request, context: context)
        let now = context.clock.now()
        return try await pool.transaction(lane, retries: .idempotent(attempts: Self.attempts)) { transaction in
            if let stored = try IdempotencyStore.claim(claim, now: now, in: transaction) {
                return try claim.replay(stored)
            }
            let answer = try body(transaction)
            if answer.status.kind == .successful {
                try IdempotencyStore.keep(claim, answer: claim.storing(answer), now: now, in: transaction)
            }
            return answer
        }
    }

    /// Without a key only what certainly rolled back is done again: after a lost connection nobody knows.
    private func retryingRollbacks(_ work: () async throws -> Answer) async throws -> Answer {
        for _ in 1..<Self.attempts {
            do {
                return try await work()
            } catch let error as PostgresError where error.kind == .server && error.isRetryable {
                continue
            }
        }
        return try await work()
    }
}

/// Whose key it is and what it stands for. The key itself is kept only as its hash.
struct IdempotencyClaim: Sendable {
    let tenantID: TenantID
    let credentialID: String
    let operationID: String
    let keyHash: [UInt8]
    let requestHash: [UInt8]
    private let answerKey: AnswerKey

    init(key: String, request: APIRequest, context: RequestContext) throws(Problem) {
        guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw Problem(
                .badRequest,
                code: "idempotency_key_invalid",
                detail: "An Idempotency-Key has 1 to 255 printable ASCII characters without spaces."
            )
        }
        let principal = context.principal
        tenantID = principal.tenantID ?? .operatorWide
        credentialID = principal.credentialID
        operationID = context.operation.id
        keyHash = Array(SHA256.hash(data: Array(key.utf8)))
        answerKey = principal.answerKey
        var hasher = SHA256()
        hasher.update(data: Array("\(request.method.rawValue)\n\(request.path)\n\(request.queryString)\n".utf8))
        request.body.withUnsafeReadableBytes { hasher.update(bufferPointer: $0) }
        requestHash = Array(hasher.finalize())
    }

    /// What the advisory lock is taken on. A collision of two keys only makes one of them answer 409 once.
    var lockID: Int64 {
        var hasher = SHA256()
        hasher.update(data: Array("\(tenantID.rawValue)\n\(credentialID)\n\(operationID)\n".utf8))
        hasher.update(data: keyHash)
        let bits = hasher.finalize().prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return Int64(bitPattern: bits)
    }

    func storing(_ answer: Answer) throws -> StoredAnswer {
        var bytes = Array(answer.body.readableBytesView)
        if answer.bearsSecret {
            let sealed = try AES.GCM.seal(bytes, using: answerKey.symmetricKey, authenticating: associatedData)
            // `combined` is nil only for a nonce of another size than the default.
            guard let combined = sealed.combined else { throw CryptoKitError.incorrectParameterSize }
            bytes = Array(combined)
        }
        let kept = answer.headers.filter { $0.name != .contentType }.map { ($0.name.canonicalName, $0.value) }
        return StoredAnswer(
            requestHash: requestHash,
            status: Int32(answer.status.code),
            contentType: answer.headers[.contentType] ?? "",
            headers: kept,
            body: bytes,
            isEncrypted: answer.bearsSecret
        )
    }

    func replay(_ stored: StoredAnswer) throws -> Answer {
        guard stored.requestHash == requestHash else {
            throw Problem(
                .unprocessableContent,
                code: "idempotency_key_reused",
                detail: "This Idempotency-Key was used for another request. Use a new key for a new request."
            )
        }
        let body = stored.isEncrypted ? try opened(stored.body) : stored.body
        var answer = Answer(status: .init(code: Int(stored.status)), body: ByteBuffer(bytes: body))
        for (name, value) in stored.headers {
            if let name = HTTPField.Name(name) { answer.headers[name] = value }
        }
        if !stored.contentType.isEmpty { answer.headers[.contentType] = stored.contentType }
        answer.headers[.idempotencyReplayed] = "true"
        return answer
    }

    private func opened(_ bytes: [UInt8]) throws -> [UInt8] {
        do {
            let box = try AES.GCM.SealedBox(combined: bytes)
            return Array(try AES.GCM.open(box, using: answerKey.symmetricKey, authenticating: associatedData))
        } catch {
            throw Problem(
                .conflict,
                code: "idempotent_answer_sealed",
                detail:
                    "The answer was sealed for the secret this credential had then and can't be opened with this one.",
                underlying: error
            )
        }
    }

    /// Binds the sealed bytes to their row, so that they can't be moved to another.
    private var associatedData: [UInt8] {
        Array("\(tenantID.rawValue)\n\(credentialID)\n\(operationID)\n".utf8) + keyHash + requestHash
    }
}

struct StoredAnswer: Sendable {
    let requestHash: [UInt8]
    let status: Int32
    let contentType: String
    let headers: [(String, String)]
    let body: [UInt8]
    let isEncrypted: Bool
}
