import TestSupport
import Testing
import TurnpikeServer

/// What is told of a service that stops.
@Suite(.timeLimit(.minutes(15))) struct ShutdownTests {
    private static let warning = "requests that were accepted end without an answer"

    @Test func requestsThatAreCutOffAreCounted() async throws {
        try await TestServer.run(configure: { $0.shutdownSeconds = 1 }) { server in
            let client = try RawConnection(port: server.port)
            try await server.whileLocked("plan") {
                try client.send(
                    """
                    GET /api/v1/plans HTTP/1.1\r
                    Host: 127.0.0.1\r
                    Authorization: Bearer \(TestServer.operatorKey)\r
                    \r

                    """
                )
                let isSlow = try await server.comesToWait(on: "plan")
                #expect(isSlow)
                await server.stop()
                let isTold = try await eventually { server.log.text.contains(Self.warning) }
                #expect(isTold)
                let line = server.log.lines.first { $0.contains(Self.warning) }
                #expect(line?.contains(#""requests":1,"#) == true, "\(line ?? "")")
                #expect(line?.contains(#""level":"warning""#) == true)
            }
        }
    }

    @Test func aShutdownInTimeIsToldOfAsOne() async throws {
        let log = try await TestServer.run { server in
            let answer = try await server.anonymous.get("/healthz")
            #expect(answer.status == 200)
            return server.log
        }
        #expect(!log.text.contains(Self.warning))
    }
}
