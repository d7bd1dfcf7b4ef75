import BillingCore
import Logging
import Postgres
import ServiceLifecycle
import Web

/// Keeps the signing keys young: makes the next one in time, and removes those that nothing is signed with any more.
/// Safe on every replica: one at a time looks, and what another has done is done.
struct SigningKeyRotation: Service {
    static let worker = "signing_keys"

    let pool: PostgresPool
    let ring: SigningKeyRing
    let settings: OAuthSettings
    let clock: Clock
    let ids: IDSource
    let logger: Logger

    func run() async throws {
        await WorkerLoop(Self.worker, every: .seconds(60), clock: clock, logger: logger).run { try await rotate() }
    }

    /// One round, after which the ring has what is stored.
    func rotate() async throws {
        let now = clock.now()
        let unusable = try await pool.transaction(.worker, retries: .idempotent(attempts: 3)) { transaction in
            let keys = try SigningKeyStore.lock(in: transaction)
            let usable = Set(keys.filter { $0.signer(settings.masterKey) != nil }.map(\.id))
            let plan = SigningKeyPlan(
                keys: keys,
                usable: usable,
                algorithm: settings.algorithm,
                rotationDays: settings.signingKeyDays,
                now: now
            )
            try carryOut(plan, keys, now: now, in: transaction)
            return keys.map(\.id).filter { !usable.contains($0) && !plan.removed.contains($0) }
        }
        if !unusable.isEmpty {
            logger.notice(
                "signing keys sealed with another TURNPIKE_MASTER_KEY sign no more; their tokens are believed",
                metadata: ["keys": .array(unusable.map { .string($0) })]
            )
        }
        try await ring.reload()
    }

    private func carryOut(
        _ plan: SigningKeyPlan,
        _ keys: [SigningKey],
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        if !plan.removed.isEmpty {
            SigningKeyStore.delete(plan.removed, in: transaction)
            for key in keys where plan.removed.contains(key.id) {
                try record("removed", before: key, now: now, in: transaction)
            }
        }
        if let signsFrom = plan.newKeySignsFrom {
            let key = try SigningKey.generate(
                settings.algorithm,
                createdAt: now,
                signsFrom: signsFrom,
                masterKey: settings.masterKey
            )
            SigningKeyStore.insert(key, in: transaction)
            try record("created", after: key, now: now, in: transaction)
        }
    }

    private func record(
        _ what: String,
        before: SigningKey? = nil,
        after: SigningKey? = nil,
        now: Instant,
        in transaction: borrowing Transaction
    ) throws {
        try AuditLog.record(
            in: transaction,
            by: AuditAuthor(credentialID: "worker:\(Self.worker)", requestID: "", id: ids.next(), occurredAt: now),
            action: "signing_key.\(what)",
            resource: ("signing_key", before?.id ?? after?.id ?? ""),
            tenant: .operatorWide,
            before: before.map(Recorded.init),
            after: after.map(Recorded.init)
        )
    }

    private struct Recorded: Encodable {
        let id: String
        let algorithm: String
        let createdAt: Instant
        let signsFrom: Instant

        init(_ key: SigningKey) {
            id = key.id
            algorithm = key.algorithm.rawValue
            createdAt = key.createdAt
            signsFrom = key.signsFrom
        }
    }
}
