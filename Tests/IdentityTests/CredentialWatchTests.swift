import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Identity

@Suite struct CredentialWatchTests {
    /// The room by itself, as another replica's.
    private static func room(_ server: TestServer, _ pool: PostgresPool) async throws -> Identity {
        let clock = server.clock.clock
        let identity = Identity(
            pool: pool,
            writes: IdempotentWrites(pool: pool),
            tenants: TenantDirectory(
                tenant: { _ in nil },
                subject: { _ in nil },
                keys: { _ in [:] },
                standing: { _ in TenantStanding(key: "acme", isSuspended: false) }
            ),
            throttle: AuthenticationThrottle(limits: .init(), clock: clock),
            portalPage: "",
            oauth: OAuthSettings(
                masterKey: try #require(MasterKey(parsing: TestServer.masterKey)),
                issuer: TestServer.issuer
            ),
            outbound: OutboundGuard(),
            deadline: AnswerDeadline(milliseconds: 20_000),
            clock: clock,
            ids: .random(clock),
            logger: .silent
        )
        try await identity.prepare()
        return identity
    }

    /// What was dropped may have been about any of them.
    @Test func afterAnOverflowNothingThatWasReadStandsIn() async throws {
        try await TestServer.run { server in
            try await server.addTenant("acme")
            let key = try await server.makeKey([.tenantsRead])
            let made = try await server.ask("POST", "/tenants/acme/portal-sessions", expecting: 201)
            let session = try #require(made["token"]?.string)
            let token = try await server.token(of: try await server.makeOAuthClient([.tenantsRead]))
            try await server.withPool { pool in
                let identity = try await Self.room(server, pool)
                let authentication = identity.authentication
                func lastKnown() -> [Bool] {
                    [
                        authentication.apiKeys.lastKnown(key) != nil,
                        authentication.portalSessions.lastKnown(session) != nil,
                        authentication.tokens?.lastKnown(token) != nil,
                    ]
                }
                let address = try #require(IPAddress("192.0.2.1"))
                for text in [key, session, token] {
                    _ = try await authentication.judged(.bearer(text), from: address)
                }
                let configuration = PostgresConfiguration(url: server.database.url)
                let watch = CredentialWatch(configuration, identity: identity, logger: .silent)
                let (wishes, reload) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
                watch.follow(.reconnected, reload)
                #expect(lastKnown() == [true, true, true])
                watch.follow(.overflowed, reload)
                #expect(lastKnown() == [false, false, false])
                reload.finish()
                var wished = 0
                for await _ in wishes { wished += 1 }
                #expect(wished == 1)
            }
        }
    }

    @Test func aRevocationDoesNotWaitForSigningKeysThatAreBeingRead() async throws {
        try await TestServer.run { server in
            #expect(try await eventually { server.log.text.contains("listening for changed credentials") })
            let key = try await server.makeKey([.tenantsRead])
            let id = try #require(key.split(separator: "_").dropFirst().first)
            let caller = server.anonymous.with(key: key)
            #expect(try await caller.get("/api/v1/tenants").status == 200)
            try await server.withPool { pool in
                let lock = Task { try await pool.holdTable("signing_key") }
                defer { lock.cancel() }
                #expect(try await server.comesToHave("AccessExclusiveLock", on: "signing_key"))
                try await server.database.run("NOTIFY turnpike_credentials, 'signing_keys:'")
                #expect(try await eventually { try await !Self.readers(pool).isEmpty })
                let readers = try await Self.readers(pool)
                try await server.database.run(
                    """
                    UPDATE api_key SET revoked_at = now() WHERE api_key_id = '\(id)';
                    NOTIFY turnpike_credentials, 'key:\(id)'
                    """
                )
                #expect(try await eventually { try await caller.get("/api/v1/tenants").status == 401 })
                // The signing keys are still being read.
                #expect(try await !Self.readers(pool).isDisjoint(with: readers))
            }
        }
    }

    /// The connections that wait for the signing keys.
    private static func readers(_ pool: PostgresPool) async throws -> Set<Int32> {
        let connections = try await pool.query(
            .interactive,
            """
            SELECT pid FROM pg_locks
            WHERE relation = 'signing_key'::regclass AND NOT granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        ) { row throws(PostgresError) in try row.next(Int32.self) }
        return Set(connections)
    }
}
