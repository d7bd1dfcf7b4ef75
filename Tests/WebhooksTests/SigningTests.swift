import BillingCore
import Foundation
import Identity
import Postgres
import TestSupport
import Testing
import Web

@testable import Webhooks

/// Signatures, as other people's programs verify them.
@Suite(.timeLimit(.minutes(15)))
struct SigningTests {
    private static let standardWebhooks = """
        import json, sys
        from standardwebhooks.webhooks import Webhook, WebhookVerificationError
        headers, body = json.loads(sys.argv[1]), sys.argv[2]
        for secret in sys.argv[3:]:
            try:
                print(Webhook(secret).verify(body, headers)["type"])
            except WebhookVerificationError as error:
                print(error)
        """

    private static let ed25519 = """
        import base64, json, sys
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        headers, body = json.loads(sys.argv[1]), sys.argv[2]
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
        for text in sys.argv[3:]:
            assert text.startswith("whpk_")
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text[5:]))
            good = 0
            for signature in headers["webhook-signature"].split(" "):
                version, value = signature.split(",")
                assert version == "v1a"
                try:
                    key.verify(base64.b64decode(value), content)
                    good += 1
                except InvalidSignature:
                    pass
            print("good" if good == 1 else "bad")
        """

    /// What a program of the virtual environment says of a delivery, a line for each key.
    private static func verdicts(
        _ program: String,
        _ delivery: WebhookReceiver.Delivery,
        _ keys: [String]
    ) async throws -> [String] {
        let python = try #require(TestTools.installed("python"))
        let headers = JSONValue.object(delivery.headers.map { JSONMember(name: $0.key, value: .string($0.value)) })
        return try await TestTools.run(
            python.path,
            ["-I", "-c", program, headers.text, delivery.body] + keys,
            in: FileManager.default.temporaryDirectory
        ).split(separator: "\n").map(String.init)
    }

    private static func test(_ server: TestServer, _ receiver: WebhookReceiver) async throws
        -> WebhookReceiver.Delivery
    {
        let before = receiver.received.count
        try await server.operatorClient.post("/api/v1/webhook-endpoints/ops/test").expecting(202)
        #expect(try await eventually { receiver.received.count == before + 1 })
        return try #require(receiver.received.last)
    }

    private static func rotate(_ server: TestServer, overlapSeconds: Int) async throws -> JSONValue {
        try await server.operatorClient.post(
            "/api/v1/webhook-endpoints/ops/rotate-secret",
            #"{"overlap_seconds": \#(overlapSeconds)}"#
        ).expecting(200).json
    }

    @Test("the standardwebhooks library verifies v1, with both secrets while one follows the other")
    func hmacIsVerified() async throws {
        let clock = TestClock()
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run(clock: clock) { server in
            // The library accepts what was signed within five minutes; the wait for a turn may have been longer.
            clock.set(Clock.system.now())
            let first = try #require(try await server.makeEndpoint("ops", receiver.url)["secret"]?.string)
            let stranger = "whsec_" + Data(repeating: 7, count: 32).base64EncodedString()
            let one = try await Self.test(server, receiver)
            let wrong = "No matching signature found"
            #expect(
                try await Self.verdicts(Self.standardWebhooks, one, [first, stranger]) == ["webhook.test", wrong]
            )
            var tampered = one
            tampered.body = one.body.replacing(#""endpoint":"ops""#, with: #""endpoint":"oops""#)
            #expect(tampered.body != one.body)
            #expect(try await Self.verdicts(Self.standardWebhooks, tampered, [first]) == [wrong])
            let rotated = try await Self.rotate(server, overlapSeconds: 60)
            let second = try #require(rotated["secret"]?.string)
            #expect(second != first && rotated["previous_secret_expires_at"]?.string != nil)
            let two = try await Self.test(server, receiver)
            #expect(two.headers["webhook-signature"]?.split(separator: " ").count == 2)
            let both = ["webhook.test", "webhook.test"]
            #expect(try await Self.verdicts(Self.standardWebhooks, two, [first, second]) == both)
            clock.advance(seconds: 61)
            let three = try await Self.test(server, receiver)
            #expect(try await Self.verdicts(Self.standardWebhooks, three, [first, second]) == [wrong, "webhook.test"])
        }
    }

    @Test("after the master key was changed a rotation is enough, whatever the secret before it was sealed with")
    func rotationMendsAChangedMasterKey() async throws {
        let clock = TestClock()
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run(clock: clock) { server in
            // As above.
            clock.set(Clock.system.now())
            try await server.makeEndpoint("ops", receiver.url)
            let id = WebhookEndpointID(tenant: .operatorWide, key: "ops")
            let old = try #require(MasterKey(parsing: MasterKey.random()))
            let sealed = try WebhookSigningKey(generating: .hmac).sealed(for: id, old)
            _ = try await server.withPool { pool in
                try await pool.execute(
                    .worker,
                    "UPDATE webhook_endpoint SET sealed_secret = \(PostgresBytes(bytes: sealed))"
                )
            }
            try await server.operatorClient.post("/api/v1/webhook-endpoints/ops/test").expecting(202)
            let text = "the secret was sealed with another TURNPIKE_MASTER_KEY; rotate it"
            #expect(
                try await eventually(within: .seconds(30)) {
                    try await server.column("SELECT error FROM webhook_attempt LIMIT 2") == [text]
                }
            )
            let failures = try await server.column("SELECT failure_count::text FROM webhook_delivery LIMIT 2")
            #expect(failures == ["0"] && receiver.received.isEmpty)
            let path = "/api/v1/webhook-endpoints/ops"
            #expect(try await server.operatorClient.get(path).json["failing_since"] == .null)
            let rotated = try await server.operatorClient.post("\(path)/rotate-secret").expecting(200).json
            let secret = try #require(rotated["secret"]?.string)
            #expect(rotated["previous_secret_expires_at"]?.string != nil)
            clock.advance(seconds: 60)
            #expect(try await server.deliveries(reach: ["succeeded"]))
            let delivery = try #require(receiver.received.first)
            #expect(delivery.headers["webhook-signature"]?.split(separator: " ").count == 1)
            #expect(try await Self.verdicts(Self.standardWebhooks, delivery, [secret]) == ["webhook.test"])
        }
    }

    @Test("a second rotation waits for the end of the overlap, or ends both secrets at once")
    func overlapsDoNotOverlap() async throws {
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", "https://example.com/")
            _ = try await Self.rotate(server, overlapSeconds: 60)
            let path = "/api/v1/webhook-endpoints/ops/rotate-secret"
            let early = try await server.operatorClient.post(path)
            #expect(early.status == 409 && early.code == "webhook_secret_overlap")
            _ = try await Self.rotate(server, overlapSeconds: 0)
            _ = try await Self.rotate(server, overlapSeconds: 60)
            server.clock.advance(seconds: 60)
            _ = try await Self.rotate(server, overlapSeconds: 60)
        }
    }

    @Test("ed25519 signs v1a, which the public key alone verifies")
    func ed25519IsVerified() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run { server in
            let made = try await server.makeEndpoint("ops", receiver.url, #", "signing": "ed25519""#)
            let first = try #require(made["public_key"]?.string)
            #expect(made["secret"] == nil)
            let one = try await Self.test(server, receiver)
            #expect(try await Self.verdicts(Self.ed25519, one, [first]) == ["good"])
            let rotated = try await Self.rotate(server, overlapSeconds: 60)
            let second = try #require(rotated["public_key"]?.string)
            #expect(rotated["previous_public_key"]?.string == first)
            let two = try await Self.test(server, receiver)
            #expect(try await Self.verdicts(Self.ed25519, two, [first, second]) == ["good", "good"])
            server.clock.advance(seconds: 61)
            let three = try await Self.test(server, receiver)
            #expect(try await Self.verdicts(Self.ed25519, three, [first, second]) == ["bad", "good"])
        }
    }

    @Test("a secret opens for its own endpoint and under its own master key only")
    func secretsAreBoundToTheirEndpoint() throws {
        let key = WebhookSigningKey(generating: .hmac)
        let (own, other) = (
            WebhookEndpointID(tenant: .init(1), key: "a"), WebhookEndpointID(tenant: .init(2), key: "a")
        )
        let masterKey = try #require(MasterKey(parsing: TestServer.masterKey))
        let sealed = try key.sealed(for: own, masterKey)
        let opened = try WebhookSigningKey(.hmac, sealed: sealed, of: own, masterKey)
        #expect(opened.secretText == key.secretText)
        #expect(throws: (any Error).self) { try WebhookSigningKey(.hmac, sealed: sealed, of: other, masterKey) }
        let stranger = try #require(MasterKey(parsing: MasterKey.random()))
        #expect(throws: (any Error).self) { try WebhookSigningKey(.hmac, sealed: sealed, of: own, stranger) }
        #expect("\(key)" == "WebhookSigningKey(redacted)")
    }

    @Test("a tenant is told what to do about a changed master key, and nothing of the service's settings")
    func tenantsAreToldNoSettings() async throws {
        let outbound = OutboundClient(addresses: OutboundGuard(allowed: []), timeoutSeconds: 1, lookups: 1)
        let masterKey = try #require(MasterKey(parsing: MasterKey.random()))
        let sender = WebhookSender(
            outbound: outbound,
            tenantOutbound: outbound,
            masterKey: masterKey,
            mail: nil,
            logger: .silent
        )
        let now = Clock.system.now()
        let content = ClaimedDelivery.Content(
            target: .init(
                createdAt: now,
                kind: .webhook,
                url: "https://example.com/",
                sealedURL: nil,
                signing: .hmac,
                sealedSecret: [1, 2, 3],
                previousSealedSecret: nil
            ),
            event: .init(id: IDSource.random(.system).next(), type: "limit.reached", occurredAt: now, data: "{}")
        )
        for (tenant, text) in [
            (0, "the secret was sealed with another TURNPIKE_MASTER_KEY; rotate it"),
            (1, "the service can't open the secret; rotate it"),
        ] {
            let id = WebhookEndpointID(tenant: TenantID(Int64(tenant)), key: "a")
            let result = await sender.send(content, to: id, at: now)
            #expect(result.error == text && result.isLocal)
        }
    }
}
