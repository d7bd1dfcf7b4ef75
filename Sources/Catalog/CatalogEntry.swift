import BillingCore
import Postgres

/// A meter or a feature: it takes part in what is counted from the version of the shared catalogue that made it until
/// the one that archived it. Only its name and its archival ever change.
protocol CatalogEntry: Sendable {
    associatedtype Body: Encodable & Sendable

    static var resource: CatalogFault.Resource { get }
    /// What cannot change once usage was counted.
    static var immutableFields: [String] { get }

    var name: String { get set }
    var createdVersion: Int64 { get }
    var archivedVersion: Int64? { get set }
    var updatedAt: Instant { get set }
    var revision: Int64 { get set }
    /// What the API shows of it.
    var body: Body { get }

    static func find(key: String, in transaction: borrowing Transaction) throws -> Self?
    /// Writes name and archival.
    func update(in transaction: borrowing Transaction) throws
    /// Throws while something that is in use needs it.
    func requireUnused(in transaction: borrowing Transaction) throws
}

extension CatalogEntry {
    var status: String {
        archivedVersion == nil ? "active" : "archived"
    }

    /// Whether usage stored at a version of the catalogue was counted with it.
    func isInForce(at version: Int64) -> Bool {
        createdVersion <= version && (archivedVersion.map { version < $0 } ?? true)
    }

    func renamed(_ name: String?, now: Instant) -> Self {
        changed(now: now) { $0.name = name ?? $0.name }
    }

    func archived(at version: Int64, now: Instant) -> Self {
        changed(now: now) { $0.archivedVersion = version }
    }

    private func changed(now: Instant, _ change: (inout Self) -> Void) -> Self {
        var changed = self
        change(&changed)
        changed.updatedAt = now
        changed.revision += 1
        return changed
    }

    static func existing(_ key: String, in transaction: borrowing Transaction) throws -> Self {
        guard let entry = try find(key: key, in: transaction) else { throw CatalogFault.notFound(resource, key) }
        return entry
    }
}
