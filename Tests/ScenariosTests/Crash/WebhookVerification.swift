import Foundation
import TestSupport
import Testing
import Web

/// What a receiver does with Standard Webhooks' own library.
enum WebhookVerification {
    private static let verifier = """
        import json, sys
        from standardwebhooks.webhooks import Webhook
        webhook = Webhook(sys.argv[1])
        for line in open(sys.argv[2], encoding="utf-8"):
            delivery = json.loads(line)
            webhook.verify(delivery["body"], delivery["headers"])
        print("verified")
        """

    /// Records a failure unless every delivery has the signature of the secret.
    static func verify(_ deliveries: [WebhookReceiver.Delivery], _ secret: String) async throws {
        let python = try #require(TestTools.installed("python"), "run scripts/test: it makes the environment")
        try await withTemporaryDirectory { directory in
            let lines = deliveries.map { delivery in
                let headers = delivery.headers.map { JSONMember(name: $0.key, value: .string($0.value)) }
                return JSONValue.members(["headers": .object(headers), "body": .string(delivery.body)]).text
            }
            let file = directory.appending(path: "deliveries")
            try lines.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
            let verdict = try await TestTools.run(python.path, ["-c", verifier, secret, file.path], in: directory)
            #expect(verdict == "verified\n")
        }
    }
}
