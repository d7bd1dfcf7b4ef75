import HTTPTypes
import TestSupport
import Testing
import Web

@Suite struct SecurityHeadersTests {
    private static let everywhere = [
        "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    ]

    @Test func everyAnswerHasThemAlsoOneThatRefusesTheConnection() async throws {
        try await WebHarness.run { operations in
            operations.get("/thing", "thing", scope: .tenantsRead) { _, _ in try .json(["a": 1]) }
        } _: { harness in
            let paths = ["/api/v1/thing", "/api/v1/nothing"]
            for path in paths {
                for client in [harness.client, harness.client.with(key: nil)] {
                    let answer = try await client.get(path)
                    for (name, value) in Self.everywhere { #expect(answer.header(name) == value, "\(path) \(name)") }
                    #expect(answer.header("Strict-Transport-Security") == nil)
                }
            }
            let connection = try RawConnection(port: harness.port)
            try connection.send("hello\r\n\r\n")
            let refusal = await connection.answer()
            for (name, value) in Self.everywhere { #expect(refusal.contains("\(name): \(value)\r\n"), "\(name)") }
        }
    }

    @Test func pagesSayMoreAndKeepWhatTheySayThemselves() async throws {
        try await WebHarness.run { operations in
            operations.get("/page", "page", scope: .tenantsRead) { _, _ in
                var answer = Answer.text("<p>", contentType: "text/html; charset=utf-8")
                answer.headers[.contentSecurityPolicy] = "default-src 'none'; style-src 'sha256-x'"
                return answer
            }
        } _: { harness in
            let answer = try await harness.client.get("/api/v1/page")
            #expect(answer.header("Content-Security-Policy") == "default-src 'none'; style-src 'sha256-x'")
            #expect(answer.header("Cross-Origin-Opener-Policy") == "same-origin")
            #expect(answer.header("Permissions-Policy")?.contains("camera=()") == true)
            #expect(answer.header("X-Frame-Options") == "DENY")
        }
    }
}
