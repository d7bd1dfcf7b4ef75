import Foundation
import Postgres
import Testing

@Suite struct LocalClusterTests {
    @Test func aClusterIsPrivateAndSurvivesStoppingAndKilling() async throws {
        try await TestServer.withCluster { cluster in
            let url = try cluster.url
            let attributes = try FileManager.default.attributesOfItem(atPath: cluster.directory + "/password")
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            try await PostgresDatabase.run("CREATE TABLE kept AS SELECT 1 AS n", at: url)
            try cluster.start()
            try cluster.stop()
            #expect(cluster.postmaster == nil)
            try cluster.stop()
            try cluster.start()
            #expect(try cluster.url == url)
            try cluster.kill()
            #expect(cluster.postmaster == nil)
            let again = try LocalCluster(directory: cluster.directory)
            try again.start()
            try await PostgresDatabase.run("DROP TABLE kept", at: again.url)
            let stranger = try again.url.replacing("turnpike:", with: "turnpike:not")
            await #expect(throws: PostgresError.self) { try await PostgresDatabase.run("SELECT 1", at: stranger) }
        }
    }

    @Test func aLockThatNamesAStrangerAfterACrashIsNoObstacle() async throws {
        try await TestServer.withCluster { cluster in
            try cluster.kill()
            let lock = cluster.directory + "/data/postmaster.pid"
            try Data("\(ProcessInfo.processInfo.processIdentifier)\n/\n0\n1\n".utf8).write(
                to: URL(fileURLWithPath: lock)
            )
            #expect(cluster.postmaster == nil)
            try cluster.start()
            #expect(cluster.postmaster != nil)
            try await PostgresDatabase.run("SELECT 1", at: cluster.url)
        }
    }

    @Test func aClusterWhoseMakingWasInterruptedIsMadeAnew() async throws {
        try await TestServer.withCluster { cluster in
            try cluster.stop()
            let data = cluster.directory + "/data"
            try FileManager.default.moveItem(atPath: data, toPath: data + ".new")
            try cluster.start()
            try await PostgresDatabase.run("SELECT 1", at: cluster.url)
        }
    }

    @Test func aDatabaseIsCopiedFromItsTemplate() async throws {
        try await TestServer.withDatabase(setup: "CREATE TABLE copied (id int)") { url in
            let name = "turnpike_test_\(UInt64.random(in: 0...UInt64.max))"
            let template = try #require(URL(string: url)).lastPathComponent
            let copy = try await PostgresDatabase.create(name, template: template, at: TestServer.url())
            try await PostgresDatabase.run("SELECT id FROM copied", at: copy)
            try await PostgresDatabase.drop(name, at: TestServer.url())
            await #expect(throws: PostgresError.self) { try await PostgresDatabase.run("SELECT 1", at: copy) }
        }
    }
}
