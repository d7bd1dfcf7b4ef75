import NIOCore
import Synchronization
import TestSupport
import Testing
import Web

@Suite struct AnswerStreamTests {
    private struct Broken: Error {}

    private static let piece = ByteBuffer(string: String(repeating: "x", count: 65_536))
    private static let request = "GET /api/v1/rows HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n\r\n"

    private static func rows(
        in operations: Operations,
        _ produce: @escaping @Sendable (AnswerStream.Send) async throws -> Void
    ) {
        operations.get("/rows", "rows", scope: .tenantsRead) { _, _ in
            .streaming(contentType: "text/csv", AnswerStream(produce))
        }
    }

    @Test func piecesArriveInOrderAndTheConnectionServesOn() async throws {
        try await WebHarness.run { operations in
            Self.rows(in: operations) { send in
                for row in 0..<1_000 { try await send(ByteBuffer(string: "\(row)\n")) }
            }
        } _: { harness in
            for _ in 0..<2 {
                let answer = try await harness.client.get("/api/v1/rows")
                #expect(answer.text == (0..<1_000).map { "\($0)\n" }.joined())
                #expect(answer.header("Content-Type") == "text/csv")
                #expect(answer.header("X-Content-Type-Options") == "nosniff")
                #expect(answer.header("Content-Length") == nil)
            }
            let head = try await harness.client.send("HEAD", "/api/v1/rows", body: nil)
            #expect(head.status == 200)
            #expect(head.body.isEmpty)
        }
    }

    /// What fails half-way leaves the body without its last chunk, so that no client takes it for whole.
    @Test func aBodyThatFailsIsNotEnded() async throws {
        try await WebHarness.run { operations in
            Self.rows(in: operations) { send in
                try await send(ByteBuffer(string: "first\n"))
                throw Broken()
            }
        } _: { harness in
            let client = harness.client
            await #expect(throws: (any Error).self) { try await client.get("/api/v1/rows") }
            let isLogged = try await eventually(within: .seconds(60)) { harness.log.text.contains("answer cut off") }
            #expect(isLogged)
        }
    }

    /// A client that takes nothing is sent no more than fits on the way, and is given up after a time.
    @Test func piecesWaitForTheClientAndAStalledOneIsGivenUp() async throws {
        let sent = Atomic<Int>(0)
        let ended = Gate()
        try await WebHarness.run(writeTimeoutSeconds: 2) { operations in
            Self.rows(in: operations) { send in
                defer { ended.open() }
                for _ in 0..<4_000 {
                    try await send(Self.piece)
                    sent.add(1, ordering: .relaxed)
                }
            }
        } _: { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(Self.request)
            await ended.wait()
            #expect(sent.load(ordering: .relaxed) < 1_000)
            let isLogged = try await eventually(within: .seconds(60)) { harness.log.text.contains("answer cut off") }
            #expect(isLogged)
            withExtendedLifetime(connection) {}
        }
    }

    @Test func aSlowClientGetsEverything() async throws {
        try await WebHarness.run(writeTimeoutSeconds: 60) { operations in
            Self.rows(in: operations) { send in
                for _ in 0..<400 { try await send(Self.piece) }
            }
        } _: { harness in
            let answer = try await harness.client.get("/api/v1/rows")
            #expect(answer.body.count == 400 * 65_536)
        }
    }
}
