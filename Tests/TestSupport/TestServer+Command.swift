import Foundation

extension TestServer {
    /// Runs the built command beside the service to its end, with nothing but the database and these settings in its
    /// environment.
    package func turnpike(
        _ arguments: [String],
        settings: [String: String] = [:]
    ) async throws -> (code: Int32, output: String) {
        guard let binary = TestTools.turnpikeBinary else {
            throw ChildProcess.Failure(description: "turnpike is not built; run `swift build --build-tests`")
        }
        let environment = ["PATH": "/usr/bin:/bin", "DATABASE_URL": database.url].merging(settings) { $1 }
        return try await withTemporaryDirectory { directory in
            try await withChildProcess(
                binary,
                arguments: arguments,
                environment: environment,
                directory: directory
            ) { child in
                (try await child.exitCode(within: .seconds(60)), await child.output())
            }
        }
    }
}
