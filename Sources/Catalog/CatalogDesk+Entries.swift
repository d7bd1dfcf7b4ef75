import BillingCore
import Postgres
import Web

/// What the operations of meters and of features have in common.
extension CatalogDesk {
    func get<Entry: CatalogEntry>(
        _ entry: Entry.Type,
        _ request: APIRequest,
        _ context: RequestContext
    ) async throws -> Answer {
        try request.query().finish()
        let key = try request.parameter("key")
        let entry = try await read(context) { try Entry.existing(key, in: $0) }
        return try .json(entry.body, revision: entry.revision)
    }

    func rename<Entry: CatalogEntry>(
        _ entry: Entry.Type,
        _ request: APIRequest,
        _ context: RequestContext
    ) async throws -> Answer {
        let key = try request.parameter("key")
        let patch = try NamePatch.read(try request.json(), immutable: Entry.immutableFields, of: Entry.resource)
        let now = context.clock.now()
        return try await writeCatalog(request, context) { transaction in
            let found = try Entry.existing(key, in: transaction)
            if (patch.name ?? found.name).hasSameBytes(as: found.name) {
                try request.ifMatch.require(found.revision)
                return try .json(found.body, revision: found.revision)
            }
            _ = try CatalogVersion.bump(in: transaction)
            let before = try Entry.existing(key, in: transaction)
            try request.ifMatch.require(before.revision)
            let after = before.renamed(patch.name, now: now)
            try after.update(in: transaction)
            try Self.audit("updated", key, by: context, before: before, after: after, in: transaction)
            return try .json(after.body, revision: after.revision)
        }
    }

    func archive<Entry: CatalogEntry>(
        _ entry: Entry.Type,
        _ request: APIRequest,
        _ context: RequestContext
    ) async throws -> Answer {
        let key = try request.parameter("key")
        let now = context.clock.now()
        return try await writeCatalog(request, context) { transaction in
            let version = try CatalogVersion.bump(in: transaction)
            let before = try Entry.existing(key, in: transaction)
            try request.ifMatch.require(before.revision)
            guard before.archivedVersion == nil else { return .noContent }
            try before.requireUnused(in: transaction)
            let after = before.archived(at: version, now: now)
            try after.update(in: transaction)
            try Self.audit("archived", key, by: context, before: before, after: after, in: transaction)
            return .noContent
        }
    }

    private static func audit<Entry: CatalogEntry>(
        _ action: String,
        _ key: String,
        by context: RequestContext,
        before: Entry,
        after: Entry,
        in transaction: borrowing Transaction
    ) throws {
        try audit(
            action,
            Entry.resource,
            key,
            by: context,
            before: before.body,
            after: after.body,
            in: transaction
        )
    }
}
