import BillingCore
import Logging
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Identity

/// The life of the keys that sign tokens, walked through on a clock that the test moves.
@Suite struct SigningKeyRotationTests {
    private let day: Int64 = 86_400

    /// What one replica does to the keys.
    private struct Replica {
        let rotation: SigningKeyRotation
        let pool: PostgresPool

        init(_ database: TestDatabase, _ clock: TestClock, masterKey: String = TestServer.masterKey) throws {
            let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
            let key = try #require(MasterKey(parsing: masterKey))
            self.pool = pool
            rotation = SigningKeyRotation(
                pool: pool,
                ring: SigningKeyRing(pool: pool, masterKey: key, clock: clock.clock),
                settings: OAuthSettings(masterKey: key, issuer: TestServer.issuer),
                clock: clock.clock,
                ids: .random(clock.clock),
                logger: .silent
            )
        }

        var keys: [SigningKey] { get async throws { try await SigningKeyStore.all(pool: pool) } }
    }

    @Test func aKeyIsPublishedThenSignsThenStaysUntilItsLastTokenHasExpired() async throws {
        try await TestServer.run { server in
            let replica = try Replica(server.database, server.clock)
            let client = try await server.makeOAuthClient([.auditRead])
            func published() async throws -> [String] {
                let keys = try await server.anonymous.get("/.well-known/jwks.json").json["keys"]?.elements ?? []
                return keys.compactMap { $0["kid"]?.string }
            }
            func signing() async throws -> String? {
                try CompactJWT(parsing: try await server.token(of: client)).header.keyID
            }
            let first = try #require(try await published().first)
            #expect(try await signing() == first)

            server.clock.advance(seconds: 30 * day - SigningKeyPlan.leadSeconds - 1)
            try await replica.rotation.rotate()
            #expect(try await published() == [first])

            server.clock.advance(seconds: 1)
            try await replica.rotation.rotate()
            #expect(try await eventually { try await published().count == 2 })
            let second = try #require(try await published().last)
            #expect(try await signing() == first)

            server.clock.advance(seconds: SigningKeyPlan.leadSeconds - 1)
            let last = server.anonymous.with(key: try await server.token(of: client))
            server.clock.advance(seconds: 1)
            try await replica.rotation.rotate()
            #expect(try await signing() == second)
            #expect(try await last.get("/api/v1/audit-log").status == 200)
            #expect(try await published() == [first, second])

            server.clock.advance(seconds: SigningKeyPlan.retentionSeconds)
            try await replica.rotation.rotate()
            #expect(try await eventually { try await published() == [second] })
            let rows = try await server.operatorClient.get("/api/v1/audit-log?resource=signing_key")
            let actions = rows.json["data"]?.elements?.compactMap { $0["action"]?.string }
            #expect(actions == ["signing_key.removed", "signing_key.created", "signing_key.created"])
            await replica.pool.close()
        }
    }

    @Test func manyReplicasAtOnceMakeOneKey() async throws {
        try await TestDatabase.with { database in
            let clock = TestClock()
            let replicas = try (0..<6).map { _ in try Replica(database, clock) }
            for expected in 1...2 {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for replica in replicas { group.addTask { try await replica.rotation.rotate() } }
                    try await group.waitForAll()
                }
                #expect(try await replicas[0].keys.count == expected)
                clock.advance(seconds: 30 * day)
            }
            for replica in replicas { await replica.pool.close() }
        }
    }

    @Test func privateKeysAreStoredEncrypted() async throws {
        try await TestDatabase.with { database in
            let replica = try Replica(database, TestClock())
            try await replica.rotation.rotate()
            let key = try #require(try await replica.keys.first)
            let masterKey = try #require(MasterKey(parsing: TestServer.masterKey))
            let signer = try #require(key.signer(masterKey))
            #expect(key.sealedPrivateKey.count > signer.privateKey.count)
            #expect(!key.sealedPrivateKey.contains(signer.privateKey))
            #expect(key.publicJWK["d"] == nil)
            await replica.pool.close()
        }
    }

    @Test func aKeyThatIsTakenAwayTakesItsTokensWithItAndAnotherSigns() async throws {
        try await TestServer.run { server in
            let replica = try Replica(server.database, server.clock)
            let client = try await server.makeOAuthClient([.auditRead])
            let caller = server.anonymous.with(key: try await server.token(of: client))
            #expect(try await caller.get("/api/v1/audit-log").status == 200)
            try await server.database.run("DELETE FROM signing_key")
            try await replica.rotation.rotate()
            #expect(
                try await eventually {
                    server.clock.advance(seconds: 1)
                    return try await caller.get("/api/v1/audit-log").status == 401
                }
            )
            let renewed = server.anonymous.with(key: try await server.token(of: client))
            #expect(try await renewed.get("/api/v1/audit-log").status == 200)
            await replica.pool.close()
        }
    }

    @Test func underAnotherMasterKeyTheOldKeyIsBelievedAndANewOneSigns() async throws {
        try await TestServer.run { server in
            let client = try await server.makeOAuthClient([.auditRead])
            let old = try await server.token(of: client)
            let other = MasterKey.random()
            try await TestServer.run(
                on: server.database,
                clock: server.clock,
                configure: { $0.tokens.masterKey = MasterKey(parsing: other) }
            ) { renewed in
                let new = try await renewed.token(of: client)
                #expect(try CompactJWT(parsing: new).header.keyID != CompactJWT(parsing: old).header.keyID)
                for token in [old, new] {
                    #expect(try await renewed.anonymous.with(key: token).get("/api/v1/audit-log").status == 200)
                    // A replica that still has the old master key believes both, too.
                    #expect(try await server.anonymous.with(key: token).get("/api/v1/audit-log").status == 200)
                }
            }
        }
    }

    @Test func anotherAlgorithmComesWithALeadLikeAnyOtherKey() throws {
        let masterKey = try #require(MasterKey(parsing: TestServer.masterKey))
        let start = TestClock().now
        let key = try SigningKey.generate(.es256, createdAt: start, signsFrom: start, masterKey: masterKey)
        func plan(_ algorithm: SignatureAlgorithm, _ keys: [SigningKey], after seconds: Int64) -> SigningKeyPlan {
            SigningKeyPlan(
                keys: keys,
                usable: Set(keys.map(\.id)),
                algorithm: algorithm,
                rotationDays: 30,
                now: start.adding(seconds: seconds)
            )
        }
        #expect(plan(.es256, [key], after: 60).newKeySignsFrom == nil)
        let signsFrom = start.adding(seconds: 60 + SigningKeyPlan.leadSeconds)
        #expect(plan(.rs256, [key], after: 60).newKeySignsFrom == signsFrom)
        let next = try SigningKey.generate(
            .rs256,
            createdAt: start.adding(seconds: 60),
            signsFrom: signsFrom,
            masterKey: masterKey
        )
        // While a key is awaited no other is made, whatever the settings of the replicas are.
        #expect(plan(.es256, [key, next], after: 120).newKeySignsFrom == nil)
        #expect(plan(.rs256, [key, next], after: 700).removed == [])
        let retained = 60 + SigningKeyPlan.leadSeconds + SigningKeyPlan.retentionSeconds
        #expect(plan(.rs256, [key, next], after: retained - 1).removed == [])
        #expect(plan(.rs256, [key, next], after: retained).removed == [key.id])
    }
}
