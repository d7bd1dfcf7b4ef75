import HTTPTypes
import TestSupport
import Testing
import Web

/// What a connection may cost that does little with it. Bodies that dribble in are in `HTTPServerTests`, readers that
/// take nothing in `AnswerStreamTests`.
@Suite struct SlowClientTests {
    private static let request = "GET /api/v1/open HTTP/1.1\r\nHost: a\r\n\r\n"

    private func run(
        readTimeoutSeconds: Int = 30,
        configure: (inout HTTPServer.Configuration) -> Void = { _ in },
        _ body: (WebHarness) async throws -> Void
    ) async throws {
        try await WebHarness.run(readTimeoutSeconds: readTimeoutSeconds, configure: configure) { operations in
            operations.add(.get, fullPath: "/api/v1/open", id: "open", access: .open) { _, _ in .text("opened") }
            operations.post("/echo", "echo", scope: .tenantsWrite) { request, _ in .text("echoed") }
        } _: { harness in
            try await body(harness)
        }
    }

    /// Sends a byte every tenth of a second until the other side has had enough, and gives how long that took.
    private func dribble(_ connection: RawConnection, _ text: String) async throws -> Duration {
        let start = ContinuousClock.now
        for byte in text.unicodeScalars {
            do {
                try connection.send(String(byte))
            } catch {
                break
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        return ContinuousClock.now - start
    }

    @Test func aHeadThatDribblesInIsGivenUpHoweverOftenAByteComes() async throws {
        try await run(readTimeoutSeconds: 1) { harness in
            let connection = try RawConnection(port: harness.port)
            let endless = "GET /api/v1/open HTTP/1.1\r\nHost: a\r\nX-A: " + String(repeating: "b", count: 600)
            let took = try await dribble(connection, endless)
            #expect(took < .seconds(50))
            #expect(await connection.answer().hasPrefix("HTTP/1.1 408"))
        }
    }

    @Test func aSecondHeadIsBoundedLikeTheFirst() async throws {
        try await run(readTimeoutSeconds: 1) { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(Self.request)
            #expect(await connection.answer(until: "opened").hasPrefix("HTTP/1.1 200"))
            let took = try await dribble(connection, "GET /api/v1/" + String(repeating: "b", count: 600))
            #expect(took < .seconds(50))
            #expect(await connection.answer().hasPrefix("HTTP/1.1 408"))
        }
    }

    @Test func aBodyThatDribblesInIsGivenUpHoweverOftenAByteComes() async throws {
        try await run(readTimeoutSeconds: 1) { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(
                "POST /api/v1/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
            )
            let took = try await dribble(connection, String(repeating: " ", count: 600))
            #expect(took < .seconds(50))
            #expect(await connection.answer().hasPrefix("HTTP/1.1 408"))
        }
    }

    @Test func aConnectionThatSaysNothingIsClosedAndOneThatWaitsBetweenRequestsToo() async throws {
        try await run(configure: { $0.idleTimeoutSeconds = 1 }) { harness in
            let silent = try RawConnection(port: harness.port)
            #expect(await silent.answer() == "")
            #expect(silent.isClosed)
            let idle = try RawConnection(port: harness.port)
            try idle.send(Self.request)
            #expect(await idle.answer(until: "opened").hasPrefix("HTTP/1.1 200"))
            #expect(await idle.answer() == "")
            #expect(idle.isClosed)
        }
    }

    @Test func beyondTheLimitAConnectionWaitsUntilAnotherCloses() async throws {
        try await run(configure: { $0.connectionLimit = 2 }) { harness in
            var open = try (0..<2).map { _ in try RawConnection(port: harness.port) }
            for connection in open {
                try connection.send(Self.request)
                #expect(await connection.answer(until: "opened").hasPrefix("HTTP/1.1 200"))
            }
            let next = try RawConnection(port: harness.port, timeoutSeconds: 1)
            try next.send(Self.request)
            #expect(await next.answer() == "")
            #expect(!next.isClosed)
            open.removeLast()
            #expect(try await eventually { await next.answer(until: "opened").hasPrefix("HTTP/1.1 200") })
        }
    }
}
