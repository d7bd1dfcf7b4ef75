import BillingCore
import Postgres

/// All SQL on `subject_directory`: which tenant a key or a registered subject names. Subjects, keys included, are
/// unique over all tenants.
enum SubjectDirectory {
    /// A subject and its tenant; `subject` is nil where a tenant was asked for by id.
    struct Entry: Sendable, Hashable {
        let subject: String?
        let tenantID: TenantID
    }

    /// Looks up many subjects at once. Those that name nobody are absent.
    static func tenants(of subjects: [String], in transaction: borrowing Transaction) throws(PostgresError) -> [Entry] {
        try transaction.query(lookup(of: subjects)) { row throws(PostgresError) in
            Entry(subject: try row.next(String.self), tenantID: try row.next())
        }
    }

    /// The statement of `tenants(of:in:)`.
    static func lookup(of subjects: [String]) -> SQL {
        """
        SELECT subject, tenant_id
        FROM subject_directory
        WHERE subject = ANY(\(subjects)::text[])
        ORDER BY subject
        """
    }

    /// Registers subjects for a tenant and returns those that somebody has already.
    static func register(
        _ subjects: [String],
        isKey: Bool = false,
        for tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) -> [String] {
        guard !subjects.isEmpty else { return [] }
        let registered = try transaction.query(
            """
            INSERT INTO subject_directory (subject, tenant_id, is_key)
            SELECT wanted.subject, \(tenant), \(isKey)
            FROM unnest(\(subjects)::text[]) AS wanted (subject)
            ORDER BY wanted.subject
            ON CONFLICT (subject) DO NOTHING
            RETURNING subject
            """
        ) { row throws(PostgresError) in try row.next(String.self) }
        let new = Set(registered.map { ExactText($0) })
        return subjects.filter { !new.contains(ExactText($0)) }.sorted()
    }

    /// Takes subjects, never the key, from a tenant.
    static func release(
        _ subjects: [String],
        of tenant: TenantID,
        in transaction: borrowing Transaction
    ) throws(PostgresError) {
        guard !subjects.isEmpty else { return }
        try transaction.execute(
            """
            DELETE FROM subject_directory
            WHERE tenant_id = \(tenant) AND subject = ANY(\(subjects)::text[]) AND NOT is_key
            """
        )
    }
}
