import Postgres
import Testing

@Suite struct IsolationTests {
    private static let walled = """
        CREATE TABLE note (tenant_id bigint NOT NULL, body text);
        INSERT INTO note VALUES (1, 'one'), (2, 'two'), (2, 'too');
        ALTER TABLE note ENABLE ROW LEVEL SECURITY;
        ALTER TABLE note FORCE ROW LEVEL SECURITY;
        CREATE POLICY note_service ON note TO turnpike_service USING (true) WITH CHECK (true);
        CREATE POLICY note_tenant ON note TO turnpike_tenant
            USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
            WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);
        """

    private static func one(_ configuration: inout PostgresConfiguration) {
        configuration.interactive.connections = 1
    }

    private func notes(_ pool: PostgresPool, _ scope: PostgresScope) async throws -> [String] {
        try await pool.query(.interactive, as: scope, "SELECT body FROM note ORDER BY body") {
            row throws(PostgresError) in try row.next(String.self)
        }
    }

    @Test func aTenantSeesItsOwnRowsOnly() async throws {
        try await TestServer.withPool(setup: Self.walled, configure: Self.one) { pool in
            // The same statement on the same connection, prepared for each role.
            for _ in 0..<3 {
                let one = try await notes(pool, .tenant(1))
                let all = try await notes(pool, .service)
                let two = try await notes(pool, .tenant(2))
                let nobody = try await notes(pool, .tenant(-9_223_372_036_854_775_808))
                #expect(one == ["one"] && two == ["too", "two"] && all == ["one", "too", "two"] && nobody == [])
            }
        }
    }

    @Test func theRoleAndTheTenantEndWithTheTransactionHoweverItEnds() async throws {
        try await TestServer.withPool(setup: Self.walled, configure: Self.one) { pool in
            func isService() async throws -> Bool {
                let rows = try await pool.query(
                    .interactive,
                    "SELECT current_user::text, coalesce(current_setting('turnpike.tenant_id', true), '')"
                ) { row throws(PostgresError) in [try row.next(String.self), try row.next(String.self)] }
                return rows == [["turnpike_service", ""]]
            }
            try await pool.transaction(.interactive, as: .tenant(1)) { transaction in
                let role = try transaction.first("SELECT current_user::text") { row throws(PostgresError) in
                    try row.next(String.self)
                }
                #expect(role == "turnpike_tenant")
            }
            #expect(try await isService())
            let refused = try await failure {
                try await pool.transaction(.interactive, as: .tenant(1)) { transaction in
                    _ = try transaction.execute("INSERT INTO note VALUES (2, 'stolen')")
                }
            }
            #expect(refused.sqlState == .insufficientPrivilege)
            #expect(try await isService())
            _ = try await failure { try await pool.execute(.interactive, as: .tenant(1), "SELECT 1/0") }
            #expect(try await isService())
            _ = try await failure {
                try await pool.transaction(.interactive, as: .tenant(1)) { transaction in
                    transaction.enqueue("SELECT 1/0")
                }
            }
            #expect(try await isService())
        }
    }

    @Test func theOwnersConnectionTakesNoRole() async throws {
        try await TestServer.withDatabase(setup: Self.walled) { url in
            let pool = PostgresPool(PostgresConfiguration(url: url).asOwner())
            let roles = try await pool.query(.worker, "SELECT current_user = session_user") {
                row throws(PostgresError) in try row.next(Bool.self)
            }
            #expect(roles == [true])
            await pool.close()
        }
    }

    @Test func aMissingServiceRoleIsAnErrorAndNotALoginWithMoreRights() async throws {
        try await TestServer.withPool(configure: { $0.serviceRole = "no such role" }) { pool in
            let error = try await failure { try await pool.execute(.interactive, "SELECT 1") }
            #expect(error.message.contains("no such role"))
        }
    }
}
