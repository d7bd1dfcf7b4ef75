import Foundation
import TestSupport
import Testing

/// `turnpike serve`, as somebody runs it.
@Suite(.timeLimit(.minutes(15))) struct ServeCommandTests {
    @Test("who starts it at a port that is taken is told which, and how to choose another")
    func portInUse() async throws {
        try await TestServer.run { server in
            let binary = try #require(TestTools.turnpikeBinary)
            try await withChildProcess(
                binary,
                arguments: ["serve", "--port", String(server.port), "--migrate", "false"],
                environment: ["PATH": "/usr/bin:/bin", "DATABASE_URL": server.database.url],
                directory: FileManager.default.temporaryDirectory
            ) { child in
                let code = try await child.exitCode(within: .seconds(60))
                #expect(code == 1)
                let output = await child.output()
                #expect(output.contains("127.0.0.1:\(server.port) is taken by another program"), "\(output)")
                #expect(output.contains("TURNPIKE_PORT"), "\(output)")
            }
        }
    }
}
