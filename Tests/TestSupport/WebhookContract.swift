import Foundation

/// What the contract says of what webhook endpoints are told.
package enum WebhookContract {
    /// Holds bodies, as they are sent, against the schemas of their types.
    /// - Throws: what is wrong with them.
    package static func check(_ bodies: [String]) async throws {
        guard let python = TestTools.installed("python") else {
            throw ChildProcess.Failure(description: "there is no python; run scripts/test: it makes the environment")
        }
        _ = try await TestTools.run(
            python.path,
            ["-B", "Tests/ContractTests/check_webhooks.py", "openapi/openapi.yaml"] + bodies,
            in: TestTools.packageRoot
        )
    }
}
