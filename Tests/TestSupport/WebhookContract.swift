import Foundation

/// What the contract says of what webhook endpoints are told.
package enum WebhookContract {
    /// Holds bodies, as they are sent, against the schemas of their types.
    /// - Returns: `valid`; what is wrong otherwise is thrown.
    package static func check(_ bodies: [String]) async throws -> String {
        guard let python = TestTools.installed("python") else {
            throw ChildProcess.Failure(description: "there is no python; run scripts/test: it makes the environment")
        }
        return try await TestTools.run(
            python.path,
            ["-B", "Tests/ContractTests/check_webhooks.py", "openapi/openapi.yaml"] + bodies,
            in: TestTools.packageRoot
        )
    }
}
