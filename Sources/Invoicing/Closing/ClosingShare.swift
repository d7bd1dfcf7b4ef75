import Postgres

/// A part of the tenants, which one process does at a time: an advisory lock that ends with the transaction. It spares
/// work; that nothing is done twice rests on the ledger locks.
struct ClosingShare: Sendable {
    let part: Int
    let parts: Int
    let waits: Bool

    /// Any number that nothing else of the service locks.
    private static let lockClass: Int32 = 0x696E_7663

    /// Whether the part is this transaction's.
    ///
    /// What follows in the transaction finds its rows by keys. PostgreSQL would read the tables of invoices whole where
    /// its statistics are of a time when they were small: a month's end fills them faster than it analyses them.
    func take(in transaction: borrowing Transaction) throws(PostgresError) -> Bool {
        transaction.enqueue("SET LOCAL enable_seqscan = off")
        transaction.enqueue("SET LOCAL enable_hashjoin = off")
        transaction.enqueue("SET LOCAL enable_mergejoin = off")
        let part = Int32(clamping: part)
        if waits {
            try transaction.execute("SELECT pg_advisory_xact_lock(\(Self.lockClass), \(part))")
            return true
        }
        let taken = try transaction.first("SELECT pg_try_advisory_xact_lock(\(Self.lockClass), \(part))") {
            row throws(PostgresError) in try row.next(Bool.self)
        }
        return taken ?? false
    }
}
