import HTTPTypes
import NIOCore
import Synchronization
import TestSupport
import Testing
import Web

/// Small calls of brief operations are answered by another handler than everything else: on one connection both must
/// look like one server.
@Suite struct BriefCallTests {
    private static func call(_ path: String, _ body: String, _ fields: String = "") -> String {
        "POST /api/v1\(path) HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n\(fields)"
            + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func run(
        readTimeoutSeconds: Int = 30,
        mayAnswer: Gate = Gate(),
        arrived: Gate = Gate(),
        _ body: (WebHarness) async throws -> Void
    ) async throws {
        try await WebHarness.run(readTimeoutSeconds: readTimeoutSeconds) { operations in
            operations.post("/brief", "brief", scope: .tenantsWrite, isBrief: true, readsQuery: true) { request, _ in
                .text("brief " + String(buffer: request.body) + request.queryString + ";")
            }
            operations.get("/look", "look", scope: .tenantsRead, isBrief: true) { _, _ in .text("looked;") }
            for (kind, isBrief) in [("brief", true), ("other", false)] {
                operations.get("/\(kind)/{key}/of/{id}", "\(kind)Of", scope: .tenantsRead, isBrief: isBrief) {
                    request,
                    _ in
                    .text(try request.parameter("key") + " " + request.parameter("id") + request.queryString)
                }
            }
            operations.post("/other", "other", scope: .tenantsWrite) { request, _ in
                .text("other " + String(buffer: request.body) + ";")
            }
            operations.post("/waiting", "waiting", scope: .tenantsWrite, isBrief: true) { request, _ in
                arrived.open()
                await mayAnswer.wait()
                return .text("waited " + String(buffer: request.body) + ";")
            }
        } _: { harness in
            try await body(harness)
        }
    }

    /// The bodies of answers, each of which ends with a semicolon.
    private func bodies(_ answers: String) -> [String] {
        answers.split(separator: "\r\n").filter { $0.contains(";") && !$0.contains(": ") }
            .flatMap { $0.split(separator: ";") }.filter { !$0.hasPrefix("HTTP/") }.map(String.init)
    }

    @Test func answersLeaveInTheOrderOfTheirRequestsWhoeverMakesThem() async throws {
        let (mayAnswer, arrived) = (Gate(), Gate())
        try await run(mayAnswer: mayAnswer, arrived: arrived) { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(
                Self.call("/brief", "1") + Self.call("/other", "2") + Self.call("/brief?x", "3")
                    + Self.call("/waiting", "4") + Self.call("/other", "5") + Self.call("/brief", "6")
            )
            await arrived.wait()
            try connection.send(Self.call("/brief", "7", "Connection: close\r\n"))
            mayAnswer.open()
            let answers = await connection.answer()
            #expect(
                bodies(answers) == ["brief 1", "other 2", "brief 3x", "waited 4", "other 5", "brief 6", "brief 7"]
            )
            #expect(connection.isClosed)
        }
    }

    @Test func whatAPathHasInPlacesOfParametersIsTheSameWhoeverAnswers() async throws {
        try await run { harness in
            let rests = ["a/of/b", "a%2Fb/of/%C3%BC?x=1", "a/of/", "//of/b", "a/of/b/", "a/of", "a%00/of/b", "a/in/b"]
            for (index, rest) in rests.enumerated() {
                var answers: [String] = []
                for kind in ["brief", "other"] {
                    for method in ["GET", "HEAD", "PUT"] {
                        let answer = try await harness.client.send(
                            method,
                            "/api/v1/\(kind)/\(rest)",
                            body: nil,
                            headers: ["X-Request-Id": "mine"]
                        )
                        answers.append("\(answer.status) \(answer.text.replacing("/\(kind)/", with: "/"))")
                    }
                }
                #expect(answers.prefix(3) == answers.suffix(3), "\(rest)")
                #expect(answers[0].hasPrefix("200 ") == (index < 2 || rest.hasSuffix("b/")), "\(rest): \(answers[0])")
            }
            let answer = try await harness.client.get("/api/v1/brief/\(rests[1])")
            #expect(answer.text == "a/b üx=1")
            for path in ["brief/a/of/b?x=1#y", "other/a/of/b?x=1#y"] {
                let connection = try RawConnection(port: harness.port)
                let fields = "Host: a\r\nAuthorization: Bearer everything\r\n"
                try connection.send("GET /api/v1/\(path) HTTP/1.1\r\n\(fields)\r\n")
                #expect(await connection.answer(until: "a bx=1").hasSuffix("\r\n\r\na bx=1"), "\(path)")
            }
        }
    }

    @Test func aBodyThatComesInPiecesIsTakenTogether() async throws {
        try await run { harness in
            let connection = try RawConnection(port: harness.port)
            let call = Self.call("/brief", "12345678")
            for piece in [call.dropLast(5), call.suffix(5).prefix(2), call.suffix(3)] {
                try connection.send(String(piece))
                try await Task.sleep(for: .milliseconds(30))
            }
            #expect(bodies(await connection.answer(until: ";")) == ["brief 12345678"])
            try connection.send(Self.call("/brief", ""))
            #expect(bodies(await connection.answer(until: ";")) == ["brief "])
        }
    }

    @Test func aBodyThatDribblesInIsGivenUpAndTheConnectionEnds() async throws {
        try await run(readTimeoutSeconds: 1) { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(String(Self.call("/brief", "12345678").dropLast(2)))
            #expect(await connection.answer().hasPrefix("HTTP/1.1 408"))
            #expect(connection.isClosed)
        }
    }

    /// Has a call wait for its answer, with what is sent behind it, until the test opens the gate.
    private func whileACallWaits(
        sendingBehindIt more: String = "",
        endingThere ends: Bool = false,
        _ body: (WebHarness, RawConnection, _ mayAnswer: Gate) async throws -> Void
    ) async throws {
        let (mayAnswer, arrived) = (Gate(), Gate())
        try await run(mayAnswer: mayAnswer, arrived: arrived) { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(Self.call("/waiting", "1") + more)
            if ends { connection.endSending() }
            await arrived.wait()
            try await body(harness, connection, mayAnswer)
        }
    }

    @Test func aClientThatHasSentAllStillGetsItsAnswer() async throws {
        try await whileACallWaits(endingThere: true) { _, connection, mayAnswer in
            mayAnswer.open()
            #expect(bodies(await connection.answer()) == ["waited 1"])
            #expect(connection.isClosed)
        }
    }

    @Test func whatIsNotHTTPBehindACallDoesNotOvertakeItsAnswer() async throws {
        try await whileACallWaits(sendingBehindIt: "hello\r\n\r\n") { _, connection, mayAnswer in
            mayAnswer.open()
            let answers = await connection.answer()
            #expect(answers.hasPrefix("HTTP/1.1 200"))
            #expect(bodies(answers) == ["waited 1"])
            #expect(answers.contains("HTTP/1.1 400"))
            #expect(connection.isClosed)
        }
    }

    @Test func aCallInFlightIsAnsweredBeforeTheServerStops() async throws {
        try await whileACallWaits { harness, connection, mayAnswer in
            // Each thread has some of these; by their ends it has told its connections.
            var others: [RawConnection] = []
            for _ in 0..<4 * System.coreCount {
                let other = try RawConnection(port: harness.port)
                try other.send(Self.call("/brief", "1"))
                #expect(bodies(await other.answer(until: ";")) == ["brief 1"])
                others.append(other)
            }
            await harness.stop()
            let port = harness.port
            let isClosed = try await eventually { (try? RawConnection(port: port)) == nil }
            #expect(isClosed)
            for other in others { #expect(await other.answer() == "" && other.isClosed) }
            mayAnswer.open()
            let answer = await connection.answer()
            #expect(bodies(answer) == ["waited 1"])
            #expect(answer.contains("\r\nConnection: close\r\n"))
            #expect(connection.isClosed)
        }
    }

    @Test func aConnectionThatWaitsForNothingEndsWhenTheServerStops() async throws {
        try await run { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(Self.call("/brief", "1"))
            #expect(bodies(await connection.answer(until: ";")) == ["brief 1"])
            await harness.stop()
            #expect(await connection.answer() == "")
            #expect(connection.isClosed)
        }
    }

    @Test func aConnectionOfSmallCallsEndsWhenItHasBeenIdle() async throws {
        try await WebHarness.run(configure: { $0.idleTimeoutSeconds = 4 }) { operations in
            operations.post("/brief", "brief", scope: .tenantsWrite, isBrief: true) { request, _ in
                .text("brief " + String(buffer: request.body) + ";")
            }
        } _: { harness in
            let connection = try RawConnection(port: harness.port)
            for call in 1...10 {
                try connection.send(Self.call("/brief", "\(call)"))
                #expect(bodies(await connection.answer(until: ";")) == ["brief \(call)"])
                try await Task.sleep(for: .milliseconds(500))
            }
            #expect(await connection.answer() == "")
            #expect(connection.isClosed)
        }
    }

    /// Also where what comes next is refused: that is no reason to keep the rest of an answer.
    @Test func anAnswerThatIsTakenSlowlyIsSentBeforeARefusalEndsTheConnection() async throws {
        let text = String(repeating: "x", count: 4_000_000)
        try await WebHarness.run { operations in
            operations.get("/look", "look", scope: .tenantsRead, isBrief: true) { _, _ in .text(text) }
        } _: { harness in
            for (index, next) in ["hello\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"].enumerated() {
                let connection = try RawConnection(port: harness.port, receiveBufferBytes: 8_192)
                try connection.send(
                    "GET /api/v1/look HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n\r\n"
                )
                let isAnswered = try await eventually {
                    harness.log.lines.count { $0.contains("\"look\"") } > index
                }
                #expect(isAnswered)
                try connection.send(next)
                let answers = await connection.answer()
                #expect(answers.utf8.count { $0 == UInt8(ascii: "x") } >= text.utf8.count)
                #expect(answers.contains("HTTP/1.1 400"))
                #expect(connection.isClosed)
            }
        }
    }

    @Test func anAnswerThatIsTakenSlowlyIsSentBeforeTheServerStops() async throws {
        let text = String(repeating: "x", count: 4_000_000)
        for path in ["/look", "/other"] {
            try await WebHarness.run { operations in
                operations.get("/look", "look", scope: .tenantsRead, isBrief: true) { _, _ in .text(text) }
                operations.get("/other", "other", scope: .tenantsRead) { _, _ in .text(text) }
            } _: { harness in
                let connection = try RawConnection(port: harness.port, receiveBufferBytes: 8_192)
                try connection.send(
                    "GET /api/v1\(path) HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n\r\n"
                )
                let isAnswered = try await eventually { harness.log.lines.contains { $0.contains(path) } }
                #expect(isAnswered)
                await harness.stop()
                let answer = await connection.answer()
                #expect(answer.utf8.count > text.utf8.count)
                #expect(connection.isClosed)
            }
        }
    }

    @Test func aHeadThatDribblesInBehindACallDoesNotCostItsAnswer() async throws {
        let (mayAnswer, arrived) = (Gate(), Gate())
        try await run(readTimeoutSeconds: 1, mayAnswer: mayAnswer, arrived: arrived) { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(Self.call("/waiting", "1"))
            await arrived.wait()
            try connection.send("POST /api/v1/brief HT")
            try await Task.sleep(for: .milliseconds(3_000))
            mayAnswer.open()
            let answer = await connection.answer()
            #expect(bodies(answer) == ["waited 1"])
            #expect(answer.contains("\r\nConnection: close\r\n"))
            #expect(connection.isClosed)
        }
    }

    @Test func statusLinesAreTheSameWhoeverWritesThem() async throws {
        for status in [HTTPResponse.Status.unprocessableContent, .contentTooLarge, .created, .init(code: 404)] {
            try await WebHarness.run { operations in
                operations.post("/brief", "brief", scope: .tenantsWrite, isBrief: true) { _, _ in
                    Answer(status: status)
                }
                operations.post("/other", "other", scope: .tenantsWrite) { _, _ in Answer(status: status) }
            } _: { harness in
                var lines: Set<Substring> = []
                for path in ["/brief", "/other"] {
                    let connection = try RawConnection(port: harness.port)
                    try connection.send(Self.call(path, "{}"))
                    let answer = await connection.answer(until: "\r\n\r\n")
                    lines.insert(answer.split(separator: "\r\n")[0])
                }
                #expect(lines.count == 1)
                #expect(lines.allSatisfy { $0.count > "HTTP/1.1 404 ".count })
            }
        }
    }

    @Test func anAnswerWithoutABodySaysNoLength() async throws {
        try await WebHarness.run { operations in
            operations.post("/nothing", "nothing", scope: .tenantsWrite, isBrief: true) { _, _ in .noContent }
            operations.post("/other", "other", scope: .tenantsWrite) { _, _ in .noContent }
        } _: { harness in
            var heads: [Set<String>] = []
            for path in ["/nothing", "/other"] {
                let connection = try RawConnection(port: harness.port)
                try connection.send(Self.call(path, "{}", "X-Request-Id: mine\r\n"))
                let answer = await connection.answer(until: "\r\n\r\n")
                heads.append(
                    Set(answer.split(separator: "\r\n").map { $0.lowercased() }.filter { !$0.hasPrefix("date:") })
                )
            }
            #expect(heads[0] == heads[1])
            #expect(heads[0].contains("http/1.1 204 no content"))
            #expect(!heads[0].contains { $0.hasPrefix("content-length") })
        }
    }

    /// Answers that nobody takes must not gather in memory: whoever takes none is asked to no more, and sent away.
    @Test func whoTakesNoAnswersGetsNoMoreAndIsSentAway() async throws {
        let answered = Mutex(0)
        try await WebHarness.run(writeTimeoutSeconds: 2) { operations in
            operations.get("/look", "look", scope: .tenantsRead, isBrief: true) { _, _ in
                answered.withLock { $0 += 1 }
                await Task.yield()
                return .text(String(repeating: "x", count: 20_000))
            }
        } _: { harness in
            let connection = try RawConnection(port: harness.port, receiveBufferBytes: 8_192)
            let call = "GET /api/v1/look HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n\r\n"
            let calls = String(repeating: call, count: 4_000)
            let sent = try connection.sendWithoutWaiting(calls) / call.utf8.count
            #expect(sent > 1_000)
            let isGone = try await eventually(within: .seconds(30)) {
                (try? connection.sendWithoutWaiting("x")) == nil
            }
            #expect(isGone)
            let count = answered.withLock { $0 }
            #expect(count < sent)
            let answer = try await harness.client.get("/api/v1/look")
            #expect(answer.status == 200)
        }
    }

    /// Also what was not sent yet when the client ended its side: more than the system takes at once.
    @Test func whoHasSentAllAndReadsSlowlyGetsTheWholeAnswer() async throws {
        let text = String(repeating: "x", count: 16_000_000)
        try await WebHarness.run { operations in
            operations.get("/look", "look", scope: .tenantsRead, isBrief: true) { _, _ in .text(text) }
        } _: { harness in
            let connection = try RawConnection(port: harness.port, receiveBufferBytes: 8_192)
            try connection.send(
                "GET /api/v1/look HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n\r\n"
            )
            connection.endSending()
            // The answer is on its way before any of it is read.
            let isAnswered = try await eventually { harness.log.lines.contains { $0.contains("\"look\"") } }
            #expect(isAnswered)
            let answer = await connection.answer()
            #expect(answer.utf8.count > text.utf8.count)
            #expect(connection.isClosed)
        }
    }

    @Test func manyCallsAtOnceAreAllAnswered() async throws {
        try await run { harness in
            let connection = try RawConnection(port: harness.port)
            for start in stride(from: 0, to: 1_000, by: 200) {
                let numbers = start..<(start + 200)
                try connection.send(numbers.map { Self.call("/brief", "\($0)") }.joined())
                let answers = await connection.answer(until: "brief \(start + 199);")
                #expect(bodies(answers) == numbers.map { "brief \($0)" })
            }
        }
    }

    /// No length is too long to be a length.
    @Test func aBodyOfAnImpossibleLengthIsRefused() async throws {
        try await run { harness in
            let connection = try RawConnection(port: harness.port)
            try connection.send(
                "POST /api/v1/brief HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 9223372036854775808\r\n\r\n"
            )
            let piece = String(repeating: "x", count: 65_536)
            for _ in 0..<16 where (try? connection.send(piece)) == nil { break }
            #expect(await connection.answer(until: "\r\n\r\n").hasPrefix("HTTP/1.1 413"))
        }
    }

    @Test func aConnectionThatGoesTakesNothingAlongButItsAnswer() async throws {
        let (mayAnswer, arrived) = (Gate(), Gate())
        try await run(mayAnswer: mayAnswer, arrived: arrived) { harness in
            do {
                let connection = try RawConnection(port: harness.port)
                try connection.send(Self.call("/waiting", "1"))
                await arrived.wait()
            }
            // The service has seen the end by then; if it has not, it writes to a client that takes nothing.
            try await Task.sleep(for: .milliseconds(200))
            mayAnswer.open()
            #expect(try await harness.client.get("/api/v1/look").text == "looked;")
        }
    }

    @Test func bothKindsOfAnswersHaveTheSameFields() async throws {
        try await run { harness in
            let client = harness.client
            let brief = try await client.post("/api/v1/brief", "{}")
            let other = try await client.post("/api/v1/other", "{}")
            let names = brief.headers.map { $0.name.lowercased() }.sorted()
            #expect(names == other.headers.map { $0.name.lowercased() }.sorted())
            #expect(names.contains("date") && names.contains("content-length"))
            #expect(brief.header("Date")?.hasSuffix(" GMT") == true)
        }
    }

    @Test func whatConcernsEveryOperationHoldsForBriefOnesToo() async throws {
        try await run { harness in
            let client = harness.client
            #expect(try await client.with(key: nil).post("/api/v1/brief", "{}").status == 401)
            #expect(try await client.with(key: "other").get("/api/v1/look").status == 401)
            #expect(try await client.get("/api/v1/brief").status == 405)
            let text = try await client.post("/api/v1/brief", "a", headers: ["Content-Type": "text/plain"])
            #expect(text.status == 415)
            let named = try await client.post("/api/v1/brief", "{}", headers: ["X-Request-Id": "mine"])
            #expect(named.header("X-Request-Id") == "mine")
            let head = try RawConnection(port: harness.port)
            try head.send(
                "HEAD /api/v1/look HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\nConnection: close\r\n\r\n"
            )
            let answer = await head.answer()
            #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("\r\n\r\n"))
        }
    }

    @Test func chunksAndOlderClientsAreServedAsEver() async throws {
        try await run { harness in
            let chunked = try RawConnection(port: harness.port)
            try chunked.send(
                "POST /api/v1/brief HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer everything\r\n"
                    + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
            )
            #expect(bodies(await chunked.answer(until: ";")) == ["brief {}"])
            let old = try RawConnection(port: harness.port)
            try old.send("GET /api/v1/look HTTP/1.0\r\nAuthorization: Bearer everything\r\n\r\n")
            let answer = await old.answer()
            #expect(answer.hasPrefix("HTTP/1.0 200") && bodies(answer) == ["looked"])
            #expect(old.isClosed)
            let polite = try RawConnection(port: harness.port)
            try polite.send(String(Self.call("/brief", "ab", "Expect: 100-continue\r\n").dropLast(2)))
            #expect(await polite.answer(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100"))
            try polite.send("ab")
            #expect(bodies(await polite.answer(until: ";")) == ["brief ab"])
        }
    }
}
