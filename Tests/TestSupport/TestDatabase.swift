import Foundation
import Postgres

/// A database of its own, cloned from one that was migrated once for this run.
package struct TestDatabase: Sendable {
    package let name: String
    /// As the cluster's superuser; the pool takes the service's role after login, like in production.
    package let url: String
    private let clusterURL: String

    /// Lends a database and drops it afterwards, whatever happens. Only a few are lent at once.
    package static func with<Result: Sendable>(
        _ body: (TestDatabase) async throws -> Result
    ) async throws -> Result {
        try await Turns.databases.take {
            let database = try await create()
            do {
                let result = try await body(database)
                try await database.drop()
                return result
            } catch {
                try await database.drop()
                throw error
            }
        }
    }

    /// Waits while many tests have one. A test that takes a second one while it has the first could wait for ever.
    package static func create() async throws -> TestDatabase {
        await TestSlots.databases.take()
        do {
            return try await clone()
        } catch {
            await TestSlots.databases.give()
            throw error
        }
    }

    private static func clone() async throws -> TestDatabase {
        let cluster = try await TestCluster.shared.prepared()
        let name = "turnpike_test_\(ProcessInfo.processInfo.processIdentifier)_\(UInt32.random(in: .min ... .max))"
        let url = try await PostgresDatabase.create(name, template: cluster.template, at: cluster.url)
        return TestDatabase(name: name, url: url, clusterURL: cluster.url)
    }

    package func drop() async throws {
        do {
            try await PostgresDatabase.drop(name, at: clusterURL)
            await TestSlots.databases.give()
        } catch {
            await TestSlots.databases.give()
            throw error
        }
    }

    /// Runs statements as the owner, past row-level security: for arranging what no operation can arrange yet.
    package func run(_ statements: String) async throws {
        try await PostgresDatabase.run(statements, at: url)
    }
}
