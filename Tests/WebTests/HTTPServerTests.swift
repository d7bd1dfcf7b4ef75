import NIOCore
import NIOPosix
import Postgres
import Synchronization
import TestSupport
import Testing
import Web

@Suite struct HTTPServerTests {
    private struct Secret: Error, CustomStringConvertible {
        let description = "password=hunter2"
    }

    @Test func anUnexpectedErrorShowsNothingInternalAndIsLoggedWithTheRequestID() async throws {
        try await WebHarness.run { operations in
            operations.get("/fails", "fails", scope: .tenantsRead) { _, _ in throw Secret() }
        } _: { harness in
            let answer = try await harness.client.get("/api/v1/fails", headers: ["X-Request-Id": "find-me"])
            #expect(answer.status == 500)
            #expect(answer.code == "internal_error")
            #expect(!answer.text.contains("hunter2"))
            let line = try #require(harness.log.lines.first { $0.contains("find-me") })
            let record = try JSONValue(parsing: line)
            #expect(record["level"]?.string == "error")
            #expect(record["error"]?.string?.contains("Secret") == true)
        }
    }

    @Test(arguments: [
        (PostgresError.Kind.connection, false), (.timeout, false), (.poolExhausted, false), (.connection, true),
    ])
    func aDatabaseThatIsAwayIsA503ThatSaysWhenToComeBack(_ kind: PostgresError.Kind, _ isUnknown: Bool) async throws {
        try await WebHarness.run { operations in
            operations.post("/away", "away", scope: .tenantsRead) { _, _ in
                throw PostgresError(kind, "host 10.0.0.7", outcomeUnknown: isUnknown)
            }
        } _: { harness in
            let answer = try await harness.client.post("/api/v1/away")
            #expect(answer.status == 503)
            #expect(answer.code == "database_unavailable")
            #expect(answer.header("Retry-After") == "1")
            #expect(!answer.text.contains("10.0.0.7"))
            #expect(answer.text.contains("is not known") == isUnknown)
        }
    }

    /// Connections share the threads of few event loops: what takes long must not hold up the others of its loop.
    @Test func onlySmallCallsOfBriefOperationsAreAnsweredOnTheThreadOfTheirConnection() async throws {
        let place: Operations.Handler = { _, _ in
            .text(MultiThreadedEventLoopGroup.currentEventLoop == nil ? "elsewhere" : "there")
        }
        try await WebHarness.run { operations in
            operations.post("/slow", "slow", scope: .tenantsRead, handler: place)
            operations.post("/brief", "brief", scope: .tenantsRead, isBrief: true, readsQuery: true, handler: place)
            operations.get("/export", "export", scope: .tenantsRead) { _, _ in
                .streaming(
                    contentType: "text/plain",
                    AnswerStream { send in
                        let isThere = MultiThreadedEventLoopGroup.currentEventLoop != nil
                        try await send(ByteBuffer(string: isThere ? "there" : "elsewhere"))
                    }
                )
            }
        } _: { harness in
            let client = harness.client
            let large = "\"" + String(repeating: "x", count: 4 * 1_024) + "\""
            let slow = try await client.post("/api/v1/slow", "{}")
            #expect(slow.text == "elsewhere")
            #expect(try await client.post("/api/v1/brief", "{}").text == "there")
            #expect(try await client.post("/api/v1/brief?a=b", "{}").text == "there")
            #expect(try await client.post("/api/v1/brief", large).text == "elsewhere")
            #expect(try await client.get("/api/v1/export").text == "elsewhere")
        }
    }

    @Test func aPathWithParametersIsFoundWhateverStandsForThem() async throws {
        try await WebHarness.run { operations in
            operations.get("/things", "listThings", scope: .tenantsRead) { _, _ in .text("all") }
            operations.get("/things/{key}", "getThing", scope: .tenantsRead) { request, _ in
                .text(try request.parameter("key"))
            }
        } _: { harness in
            let client = harness.client
            let texts = ["": "all", "?x=1": "all", "/one": "one", "/%7Bkey%7D": "{key}"]
            for (rest, text) in texts {
                let answer = try await client.get("/api/v1/things" + rest)
                #expect(answer.text == text)
            }
            let answer = try await client.post("/api/v1/things")
            #expect(answer.status == 405)
            #expect(answer.header("Allow") == "GET, HEAD")
        }
    }

    @Test func ofManyWritersWithOneVersionExactlyOneWins() async throws {
        let revision = Mutex<Int64>(1)
        try await WebHarness.run { operations in
            operations.put("/thing", "putThing", scope: .tenantsWrite) { request, _ in
                let new = try revision.withLock { current in
                    try request.ifMatch.require(current)
                    current += 1
                    return current
                }
                return try .json(["revision": new], revision: new)
            }
        } _: { harness in
            let client = harness.client
            let answers = try await withThrowingTaskGroup(of: TestResponse.self) { group in
                for _ in 0..<20 {
                    group.addTask { try await client.put("/api/v1/thing", "{}", headers: ["If-Match": "\"1\""]) }
                }
                return try await group.reduce(into: [TestResponse]()) { $0.append($1) }
            }
            #expect(answers.filter { $0.status == 200 }.count == 1)
            #expect(answers.filter { $0.status == 412 && $0.code == "precondition_failed" }.count == 19)
            #expect(answers.allSatisfy { $0.header("ETag") == "\"2\"" })
            #expect(try await client.put("/api/v1/thing", "{}", headers: ["If-Match": "W/\"2\", \"2\""]).status == 200)
            #expect(try await client.put("/api/v1/thing", "{}", headers: ["If-Match": "*"]).status == 200)
            #expect(try await client.put("/api/v1/thing", "{}").status == 200)
        }
    }

    @Test func aRequestInFlightIsAnsweredBeforeTheServerStops() async throws {
        let arrived = Gate()
        let mayAnswer = Gate()
        try await WebHarness.run { operations in
            operations.get("/slow", "slow", scope: .tenantsRead) { _, _ in
                arrived.open()
                await mayAnswer.wait()
                return try .json(["done": true])
            }
        } _: { harness in
            let client = harness.client
            async let answer = client.get("/api/v1/slow")
            await arrived.wait()
            await harness.stop()
            let port = harness.port
            // Stopping has begun when new connections are refused; the one in flight still waits.
            let isClosed = try await eventually { (try? RawConnection(port: port)) == nil }
            #expect(isClosed)
            mayAnswer.open()
            let answered = try await answer
            #expect(answered.json["done"]?.bool == true)
            #expect(answered.header("Connection") == "close")
        }
    }

    @Test func whatIsNotHTTPGetsAProblemAndTheConnectionEnds() async throws {
        try await WebHarness.run { _ in
        } _: { harness in
            let garbage = try RawConnection(port: harness.port)
            try garbage.send("hello\r\n\r\n")
            let answer = await garbage.answer()
            #expect(answer.hasPrefix("HTTP/1.1 400"))
            #expect(answer.contains("malformed_request"))
            #expect(answer.contains("X-Request-Id"))

            let large = try RawConnection(port: harness.port)
            try large.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "y", count: 40_000) + "\r\n\r\n")
            #expect(await large.answer().contains("header_fields_too_large"))
        }
    }

    @Test func aRequestThatDribblesInIsGivenUp() async throws {
        try await WebHarness.run(readTimeoutSeconds: 1) { operations in
            operations.post("/thing", "postThing", scope: .tenantsWrite) { _, _ in .noContent }
        } _: { harness in
            let slow = try RawConnection(port: harness.port)
            try slow.send(
                "POST /api/v1/thing HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            )
            let answer = await slow.answer()
            #expect(answer.hasPrefix("HTTP/1.1 408"))
            #expect(answer.contains("request_timeout"))
        }
    }

    @Test func aClientThatAsksFirstIsToldToContinue() async throws {
        try await WebHarness.run { operations in
            operations.post("/echo", "echo", scope: .tenantsWrite) { request, _ in
                .text("got \(request.body.readableBytes)")
            }
        } _: { harness in
            let polite = try RawConnection(port: harness.port)
            try polite.send(
                "POST /api/v1/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\nConnection: close\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
            )
            #expect(await polite.answer(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100"))
            try polite.send("{}")
            #expect(await polite.answer().contains("got 2"))
            let old = try RawConnection(port: harness.port)
            try old.send(
                "POST /api/v1/echo HTTP/1.0\r\nAuthorization: Bearer everything\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}"
            )
            let answer = await old.answer()
            #expect(answer.hasPrefix("HTTP/1.0 200") && answer.contains("got 2"), "\(answer)")
        }
    }

    @Test func anAnnouncedBodyBeyondTheLimitIsRefusedWithoutReadingIt() async throws {
        try await WebHarness.run { operations in
            operations.post("/small", "small", scope: .tenantsWrite, bodyLimitBytes: 10) { _, _ in .noContent }
        } _: { harness in
            let client = harness.client
            #expect(try await client.post("/api/v1/small", "{\"a\":1000}").status == 204)
            let answer = try await client.post("/api/v1/small", "{\"a\":10000}")
            #expect(answer.code == "content_too_large")
            #expect(answer.text.contains("10 bytes"))
            // Of unknown length, it is refused as soon as it is too long.
            let chunked = try RawConnection(port: harness.port)
            try chunked.send(
                "POST /api/v1/small HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\nConnection: close\r\n"
                    + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "b\r\n{\"a\":10000}\r\n0\r\n\r\n"
            )
            #expect(await chunked.answer().hasPrefix("HTTP/1.1 413"))
        }
    }

    @Test func pathParametersAreDecodedAndBrokenOnesNameNothing() async throws {
        try await WebHarness.run { operations in
            operations.get("/things/{key}", "getThing", scope: .tenantsRead) { request, _ in
                .text(try request.parameter("key"))
            }
        } _: { harness in
            let client = harness.client
            let whole = try await client.get("/api/v1/things/a%2Fb%20c")
            #expect(whole.text == "a/b c")
            for broken in ["%ff", "%00"] {
                let answer = try await client.get("/api/v1/things/\(broken)")
                #expect(answer.code == "route_not_found")
            }
        }
    }
}
