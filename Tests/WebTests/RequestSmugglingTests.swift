import Foundation
import HTTPTypes
import NIOCore
import Synchronization
import TestSupport
import Testing
import Web

/// Requests that two servers in a row may understand differently. Each is followed by a second request on the same
/// connection, which must not be seen.
@Suite struct RequestSmugglingTests {
    private static let smuggled =
        "GET /api/v1/smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n\r\n"

    private static func post(_ fields: String, _ body: String = "", version: String = "1.1") -> String {
        "POST /api/v1/echo HTTP/\(version)\r\nHost: a\r\nAuthorization: Bearer everything\r\n"
            + "Content-Type: application/json\r\n\(fields)\r\n\(body)"
    }

    private static func chunks(_ body: String) -> String { post("Transfer-Encoding: chunked\r\n", body) }

    private static func get(_ target: String = "/api/v1/open", _ fields: String = "Host: a\r\n") -> String {
        "GET \(target) HTTP/1.1\r\n\(fields)\r\n"
    }

    private static let refused: [(String, String)] = [
        ("length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("chunks and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        ("the same length twice", post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}")),
        ("two lengths", post("Content-Length: 2\r\nContent-Length: 0\r\n", "{}")),
        ("a list of lengths", post("Content-Length: 2, 2\r\n", "{}")),
        ("a signed length", post("Content-Length: +2\r\n", "{}")),
        ("a negative length", post("Content-Length: -2\r\n", "{}")),
        ("a hexadecimal length", post("Content-Length: 0x2\r\n", "{}")),
        ("an endless length", post("Content-Length: 99999999999999999999\r\n", "{}")),
        ("no length in its field", post("Content-Length: \r\n", "{}")),
        ("another coding before chunks", post("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        ("another coding after chunks", post("Transfer-Encoding: chunked, gzip\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        ("the coding of nothing", post("Transfer-Encoding: identity\r\n", "{}")),
        ("chunks twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("almost chunks", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("chunks behind a vertical tab", post("Transfer-Encoding: \u{0B}chunked\r\n", "0\r\n\r\n")),
        ("a space before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
        ("chunks with HTTP/1.0", post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", version: "1.0")),
        ("a folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")),
        ("a folded field", get("/api/v1/open", "Host: a\r\nX-A: b\r\n c\r\n")),
        ("bare line feeds", "GET /api/v1/open HTTP/1.1\nHost: a\n\n"),
        ("one bare line feed", get("/api/v1/open", "Host: a\nX-A: b\r\n")),
        ("a bare line feed as the end", "GET /api/v1/open HTTP/1.1\r\nHost: a\r\n\n"),
        ("a bare carriage return", get("/api/v1/open", "Host: a\r\nX-A: b\rc\r\n")),
        ("a NUL in a value", get("/api/v1/open", "Host: a\r\nX-A: b\0c\r\n")),
        ("a NUL in a name", get("/api/v1/open", "Host: a\r\nX-\0A: c\r\n")),
        ("a NUL in the path", get("/api/v1/op\0en")),
        ("a control character in a value", get("/api/v1/open", "Host: a\r\nX-A: b\u{01}c\r\n")),
        ("a field without a colon", get("/api/v1/open", "Host: a\r\nfoo\r\n")),
        ("a field without a name", get("/api/v1/open", "Host: a\r\n: foo\r\n")),
        ("a first field that begins with a space", get("/api/v1/open", " Host: a\r\n")),
        ("a chunk size with a prefix", chunks("0x2\r\n{}\r\n0\r\n\r\n")),
        ("a signed chunk size", chunks("+2\r\n{}\r\n0\r\n\r\n")),
        ("a negative chunk size", chunks("-2\r\n{}\r\n0\r\n\r\n")),
        ("a chunk size with a space", chunks("2 \r\n{}\r\n0\r\n\r\n")),
        ("a chunk size beyond 64 bits", chunks("10000000000000002\r\n{}\r\n0\r\n\r\n")),
        ("a chunk size before a bare line feed", chunks("2\n{}\r\n0\r\n\r\n")),
        ("a line feed in a chunk extension", chunks("2;a\nb\r\n{}\r\n0\r\n\r\n")),
        ("a chunk that is too long", chunks("2\r\n{}X0\r\n\r\n")),
        ("a chunk that is too short", chunks("3\r\n{}\r\n0\r\n\r\n")),
        ("no Host", get("/api/v1/open", "")),
        ("two Hosts", get("/api/v1/open", "Host: a\r\nHost: a\r\n")),
        ("an empty Host", get("/api/v1/open", "Host: \r\n")),
        ("a Host with a path", get("/api/v1/open", "Host: a/b\r\n")),
        ("a Host with a user", get("/api/v1/open", "Host: u@a\r\n")),
        ("another host in the target", get("http://b/api/v1/open")),
        ("a target of another scheme", get("ftp://a/api/v1/open")),
        ("a target without a slash", get("api/v1/open")),
        ("a tunnel", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a version to come", "GET /api/v1/open HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("HTTP/2 from the start", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("no version", "GET /api/v1/open\r\n\r\n"),
        ("tabs in the request line", "GET\t/api/v1/open\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    ]

    private func run(_ body: (WebHarness, _ smuggled: () -> Int) async throws -> Void) async throws {
        let smuggled = Mutex(0)
        try await WebHarness.run { operations in
            operations.get("/smuggled", "smuggled", scope: .tenantsRead) { _, _ in
                smuggled.withLock { $0 += 1 }
                return .text("smuggled")
            }
            operations.post("/echo", "echo", scope: .tenantsWrite) { request, _ in
                .text("got \(request.body.readableBytes)")
            }
            operations.add(.get, fullPath: "/api/v1/open", id: "open", access: .open) { _, _ in .text("opened") }
        } _: { harness in
            try await body(harness) { smuggled.withLock { $0 } }
        }
    }

    @Test func dangerousRequestsAreRefusedAndTheConnectionEnds() async throws {
        try await run { harness, smuggled in
            for (name, request) in Self.refused {
                let connection = try RawConnection(port: harness.port, timeoutSeconds: 60)
                try connection.send(request + Self.smuggled)
                let answer = await connection.answer()
                #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(name): \(answer)")
                #expect(answer.contains("malformed_request"), "\(name): \(answer)")
                #expect(answer.components(separatedBy: "X-Request-Id").count == 2, "\(name): \(answer)")
                #expect(connection.isClosed, "\(name)")
            }
            #expect(smuggled() == 0)
            // The second request itself is a good one.
            let honest = try RawConnection(port: harness.port)
            try honest.send(Self.smuggled)
            #expect(await honest.answer(until: "smuggled").hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func whatIsUnusualAndHarmlessIsAnswered() async throws {
        let harmless = [
            Self.chunks("2;a=b\r\n{}\r\n0\r\n\r\n"), Self.chunks("02\r\n{}\r\n0\r\nX-Trailer: a\r\n\r\n"),
            Self.post("Transfer-Encoding:\tChunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            Self.get("http://A/api/v1/open"), Self.get("https://a/api/v1/open"), "\r\n\r\n" + Self.get(),
            Self.get("/api/v1/open", "Host: [2001:db8::1]:8080\r\n"),
            Self.get("/api/v1/open", "Host: a\r\nContent-Length: 5\r\n") + "hello",
        ]
        try await run { harness, smuggled in
            for (index, request) in harmless.enumerated() {
                let connection = try RawConnection(port: harness.port, timeoutSeconds: 60)
                try connection.send(request + Self.smuggled)
                let answer = await connection.answer(until: "smuggled")
                #expect(answer.contains("got 2") || answer.contains("opened"), "\(request): \(answer)")
                #expect(answer.hasSuffix("smuggled"))
                #expect(smuggled() == index + 1)
            }
        }
    }

    @Test func requestsOfHTTP10AndThoseThatSayCloseAreTheLastOfTheirConnection() async throws {
        let last = [
            "GET /api/v1/open HTTP/1.0\r\n\r\n", "GET /api/v1/open HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET /api/v1/open HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            Self.get("/api/v1/open", "Host: a\r\nConnection: close\r\n"),
            Self.get("/api/v1/open", "Host: a\r\nConnection: Close\r\n"),
            Self.get("/api/v1/open", "Host: a\r\nConnection: TE, close\r\nTE: trailers\r\n"),
            Self.get("/api/v1/open", "Host: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"),
        ]
        try await run { harness, smuggled in
            for request in last {
                for next in ["", Self.smuggled] {
                    let connection = try RawConnection(port: harness.port, timeoutSeconds: 60)
                    try connection.send(request + next)
                    let answer = await connection.answer()
                    #expect(answer.hasPrefix(request.contains("HTTP/1.0") ? "HTTP/1.0 200" : "HTTP/1.1 200"))
                    #expect(answer.hasSuffix("opened"), "\(request): \(answer)")
                    #expect(answer.lowercased().contains("connection: close"))
                    #expect(connection.isClosed, "\(request)")
                }
            }
            #expect(smuggled() == 0)
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrderUpToTheFirstThatIsDangerous() async throws {
        try await run { harness, smuggled in
            let connection = try RawConnection(port: harness.port, timeoutSeconds: 60)
            let good = (1...20).map { Self.post("Content-Length: \($0)\r\n", String(repeating: " ", count: $0)) }
            try connection.send(good.joined() + Self.get("/api/v1/open", "") + Self.smuggled)
            let answer = await connection.answer()
            var rest = answer[...]
            for number in 1...20 {
                let found = try #require(rest.range(of: "got \(number)"), "\(number): \(answer)")
                rest = rest[found.upperBound...]
            }
            #expect(!rest.contains("opened"))
            #expect(connection.isClosed)
            #expect(smuggled() == 0)
        }
    }

    @Test func aBodyThatBreaksOffGetsNoSecondAnswerBesideAnEarlyOne() async throws {
        let head = "POST /api/v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        try await run { harness, _ in
            let answered = try RawConnection(port: harness.port, timeoutSeconds: 60)
            try answered.send(head)
            #expect(await answered.answer(until: "}").hasPrefix("HTTP/1.1 401"))
            try answered.send("ZZ\r\n")
            #expect(await answered.answer() == "")
            #expect(answered.isClosed)
            // In one read, so that it breaks before anything is answered.
            let unanswered = try RawConnection(port: harness.port, timeoutSeconds: 60)
            try unanswered.send(head + "ZZ\r\n")
            let answer = await unanswered.answer()
            #expect(answer.hasPrefix("HTTP/1.1 401"), "\(answer)")
            #expect(answer.ranges(of: "HTTP/1.1 ").count == 1, "\(answer)")
            #expect(answer.lowercased().contains("connection: close"), "\(answer)")
            #expect(unanswered.isClosed)
        }
    }

    @Test func aVeryLongRequestLineIsRefused() async throws {
        try await run { harness, _ in
            let line = try RawConnection(port: harness.port, timeoutSeconds: 60)
            try line.send(Self.get("/" + String(repeating: "a", count: 40_000)))
            #expect(await line.answer().hasPrefix("HTTP/1.1 431"))
            #expect(line.isClosed)
            let fields = try RawConnection(port: harness.port, timeoutSeconds: 60)
            try fields.send(Self.get("/api/v1/open", "Host: a\r\n" + String(repeating: "X-A: b\r\n", count: 200)))
            #expect(await fields.answer().hasPrefix("HTTP/1.1 431"))
            #expect(fields.isClosed)
        }
    }
}
