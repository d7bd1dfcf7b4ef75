import Foundation
import Postgres
import Testing
import TurnpikeServer

@Suite struct EmbeddedFilesTests {
    private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    @Test func everyMigrationOfTheFolderIsInTheBinaryAsItIs() throws {
        let folder = root.appending(path: "migrations")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(".sql") }
            .sorted()
        #expect(EmbeddedFiles.migrations.map { $0.name + ".sql" } == files)
        for migration in EmbeddedFiles.migrations {
            let text = try String(contentsOf: folder.appending(path: migration.name + ".sql"), encoding: .utf8)
            #expect(migration.sql == text)
        }
    }

    @Test func theContractIsInTheBinaryAsItIs() throws {
        #expect(Data(EmbeddedFiles.openAPI) == (try Data(contentsOf: root.appending(path: "openapi/openapi.yaml"))))
    }
}
