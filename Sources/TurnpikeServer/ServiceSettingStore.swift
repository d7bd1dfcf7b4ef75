import BillingCore
import Postgres

/// All SQL over `service_setting`: the settings of the service that was started last, as texts by their names. An empty
/// text is a setting that was not given.
enum ServiceSettingStore {
    /// Writes those that differ.
    /// - Returns: the names of those that had another text before.
    static func write(
        _ settings: [(setting: Setting, text: String)],
        at now: Instant,
        to pool: PostgresPool
    ) async throws -> [String] {
        let written = try await pool.query(
            .worker,
            retries: .idempotent(attempts: 3),
            """
            INSERT INTO service_setting (name, value, updated_at, revision)
            SELECT name, value, \(now)::timestamptz, 1
            FROM unnest(\(settings.map(\.setting.name))::text[], \(settings.map(\.text))::text[]) AS given (name, value)
            ORDER BY name
            ON CONFLICT ON CONSTRAINT service_setting_pk DO UPDATE
            SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at, revision = service_setting.revision + 1
            WHERE service_setting.value <> EXCLUDED.value
            RETURNING name, revision
            """
        ) { row throws(PostgresError) in (try row.next(String.self), try row.next(Int64.self)) }
        return written.filter { _, revision in revision > 1 }.map { name, _ in name }.sorted()
    }

    /// Those of some settings that are stored.
    static func read(_ settings: [Setting], from pool: PostgresPool) async throws -> [String: String] {
        let stored = try await pool.query(
            .worker,
            """
            SELECT name, value
            FROM service_setting
            WHERE name = ANY(\(settings.map(\.name))::text[])
            ORDER BY name
            LIMIT \(settings.count)
            """
        ) { row throws(PostgresError) in (try row.next(String.self), try row.next(String.self)) }
        return Dictionary(stored) { first, _ in first }
    }
}
