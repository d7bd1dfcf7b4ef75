import Foundation
import Postgres

/// What the contract says of what webhook endpoints are told.
package enum WebhookContract {
    /// Everything that a server has to tell, as it is sent, in the order in which it happened.
    package static func bodies(of server: TestServer) async throws -> [String] {
        try await server.column(
            """
            SELECT json_build_object('type', event_type, 'timestamp', to_char(occurred_at AT TIME ZONE 'UTC',
                'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', data)::text
            FROM webhook_event ORDER BY event_id LIMIT 99
            """
        ).compactMap(\.self)
    }

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
