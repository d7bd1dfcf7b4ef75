import Postgres
import TestSupport

/// Has the database itself look at every limit that a transaction has changed, when that commits: whoever looks from
/// outside misses most of that.
struct LimitsAtCommit {
    private let database: TestDatabase

    /// From now on it looks. Rows of quantities beside a limit on charges have no amount, and are left out.
    init(_ database: TestDatabase) async throws {
        self.database = database
        try await database.run(
            """
            CREATE TABLE broken_limit (noted text NOT NULL);
            GRANT SELECT ON broken_limit TO turnpike_service;
            CREATE FUNCTION note_broken_limit() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
            BEGIN
                INSERT INTO broken_limit (noted)
                SELECT format('%s: %s + %s - %s > %s', limit_id, used, held, overshoot, limit_amount)
                FROM limit_state
                WHERE tenant_id = NEW.tenant_id AND limit_id = NEW.limit_id AND window_start = NEW.window_start
                    AND scope_value = NEW.scope_value AND used + held - overshoot > limit_amount;
                RETURN NULL;
            END
            $$;
            CREATE CONSTRAINT TRIGGER limit_at_commit AFTER INSERT OR UPDATE ON limit_state
            DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.scope_value NOT LIKE '#%')
            EXECUTE FUNCTION note_broken_limit()
            """
        )
    }

    /// Limits that were broken at a commit.
    func broken() async throws -> [String] {
        let pool = PostgresPool(PostgresConfiguration(url: database.url), logger: .silent)
        let found = try await pool.query(.worker, "SELECT noted FROM broken_limit ORDER BY noted LIMIT 100") {
            row throws(PostgresError) in try row.next(String.self)
        }
        await pool.close()
        return found
    }

    /// Takes each limit far beyond its amount, and back again.
    func breakAndMend(inOneTransaction: Bool) async throws {
        let each = "WHERE scope_value NOT LIKE '#%'"
        let breaking = "UPDATE limit_state SET used = used + 1000000000 \(each)"
        let mending = "UPDATE limit_state SET used = used - 1000000000 \(each)"
        if inOneTransaction {
            try await database.run("BEGIN; \(breaking); \(mending); COMMIT")
        } else {
            try await database.run(breaking)
            try await database.run(mending)
        }
    }
}
