import Identity
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Webhooks

/// The URL of an incoming webhook is stored sealed, also where an earlier release stored it as it is.
@Suite(.timeLimit(.minutes(15)))
struct SealedURLTests {
    private static let path = "/api/v1/webhook-endpoints/chat"
    private static let secretPath = "/services/T1/B2/s3cr3t"

    /// Whole rows as text, in which no part of a secret may be.
    private static func rows(_ server: TestServer) async throws -> String {
        try await server.column(
            "SELECT endpoint::text || encode(coalesce(sealed_url, ''), 'escape') FROM webhook_endpoint AS endpoint"
        ).compactMap(\.self).joined(separator: "\n")
    }

    /// Makes the endpoint as a release before stored it.
    private static func makePlain(_ server: TestServer, _ receiver: WebhookReceiver) async throws {
        try await server.database.run(
            """
            INSERT INTO webhook_endpoint (tenant_id, endpoint_key, kind, url, description, events, enabled, created_at,
                updated_at, revision)
            VALUES (0, 'chat', 'slack', 'http://127.0.0.1:\(receiver.port)\(secretPath)', '', '{*}', true, now(),
                now(), 1)
            """
        )
    }

    private static func sealURLs(_ server: TestServer) async throws {
        try await server.withPool { pool in
            try await WebhookUpkeepWorker(
                pool: pool,
                masterKey: server.configuration.tokens.masterKey,
                metrics: DeliveryMetrics(),
                clock: server.clock.clock,
                logger: .silent
            ).sealURLs()
        }
    }

    /// Tells an event and expects it at the secret path.
    private static func expectArrival(
        _ server: TestServer,
        _ receiver: WebhookReceiver,
        at path: String = secretPath,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let before = receiver.received.count
        try await server.tell([.limitReached])
        let hasArrived = try await eventually(within: .seconds(30)) { receiver.received.count == before + 1 }
        #expect(hasArrived && receiver.received.last?.path == path, sourceLocation: sourceLocation)
    }

    @Test("what is made is sealed, and calls go where they should, also after it is given another URL")
    func madeSealed() async throws {
        let receiver = try WebhookReceiver()
        let moved = try WebhookReceiver()
        defer { [receiver, moved].forEach { $0.stop() } }
        try await HookStory.run { server in
            let host = "http://127.0.0.1:\(receiver.port)"
            try await server.makeEndpoint("chat", host + Self.secretPath, #", "kind": "slack""#)
            #expect(try await !Self.rows(server).contains("s3cr3t"))
            try await Self.expectArrival(server, receiver)
            let client = server.operatorClient
            try await client.patch(Self.path, #"{"description": "x", "url": "\#(host)"}"#).expecting(200)
            try await Self.expectArrival(server, receiver)
            try await client.patch(Self.path, #"{"url": "\#(host)/an0ther"}"#).expecting(200)
            #expect(try await !Self.rows(server).contains("an0ther"))
            try await Self.expectArrival(server, receiver, at: "/an0ther")
            try await client.patch(Self.path, #"{"url": "http://127.0.0.1:\#(moved.port)"}"#).expecting(200)
            try await Self.expectArrival(server, moved, at: "/")
            #expect(try await server.column("SELECT sealed_url::text FROM webhook_endpoint") == [nil])
        }
    }

    @Test("one that was stored as it is works, is sealed by the upkeep, and works on under the same version")
    func sealedByUpkeep() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await Self.makePlain(server, receiver)
            try await Self.expectArrival(server, receiver)
            try await Self.sealURLs(server)
            #expect(try await !Self.rows(server).contains("s3cr3t"))
            try await Self.expectArrival(server, receiver)
            let answer = try await server.operatorClient.get(Self.path).expecting(200)
            #expect(answer.header("ETag") == #""1""#)
            #expect(answer.json["url"]?.string == "http://127.0.0.1:\(receiver.port)")
        }
    }

    @Test("one that was stored as it is is sealed when it is written")
    func sealedByWriting() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run { server in
            try await Self.makePlain(server, receiver)
            try await server.operatorClient.patch(Self.path, #"{"description": "x"}"#).expecting(200)
            #expect(try await !Self.rows(server).contains("s3cr3t"))
            try await Self.expectArrival(server, receiver)
        }
    }

    @Test("without a master key one that was stored as it is works on, and takes no other URL")
    func withoutMasterKey() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await HookStory.run(configure: { $0.tokens.masterKey = nil }) { server in
            try await Self.makePlain(server, receiver)
            try await Self.sealURLs(server)
            let client = server.operatorClient
            try await client.patch(Self.path, #"{"description": "x"}"#).expecting(200)
            try await Self.expectArrival(server, receiver)
            let refused = try await client.patch(Self.path, #"{"url": "http://127.0.0.1:1/an0ther"}"#)
            #expect(refused.status == 409 && refused.code == "webhooks_not_configured")
        }
    }

    @Test("what another master key sealed waits, says so, and counts against nobody")
    func otherMasterKey() async throws {
        let receiver = try WebhookReceiver()
        defer { receiver.stop() }
        try await TestDatabase.with { database in
            let outbound = [AddressRange("127.0.0.1")].compactMap(\.self)
            try await TestServer.run(on: database, configure: { $0.outboundAllowed = outbound }) { server in
                let url = "http://127.0.0.1:\(receiver.port)\(Self.secretPath)"
                try await server.makeEndpoint("chat", url, #", "kind": "slack""#)
            }
            try await TestServer.run(
                on: database,
                configure: {
                    $0.outboundAllowed = outbound
                    $0.tokens.masterKey = MasterKey(parsing: MasterKey.random())
                }
            ) { server in
                try await server.tell([.limitReached])
                let isSaid = try await eventually(within: .seconds(30)) {
                    try await server.column("SELECT error FROM webhook_attempt").first??.contains("set it again")
                        == true
                }
                #expect(isSaid)
                #expect(try await server.column("SELECT failure_count::text FROM webhook_delivery") == ["0"])
            }
            #expect(receiver.received.isEmpty)
        }
    }
}
