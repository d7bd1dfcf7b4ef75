import Crypto
import Foundation
import TestSupport
import Testing
import TurnpikeServer

/// `GET /portal` over HTTP.
@Suite struct PortalPageTests {
    @Test func itIsOnePageWithoutAnythingFromElsewhere() async throws {
        try await TestServer.run { server in
            let page = try await server.anonymous.get("/portal")
            #expect(page.status == 200)
            #expect(page.header("Content-Type") == "text/html; charset=utf-8")
            #expect(page.header("Referrer-Policy") == "no-referrer")
            #expect(page.header("Cache-Control") == "no-store")
            #expect(!page.text.contains("{{"))
            for foreign in ["http://", "https://", "src=", "@import", "url(", " style=", " onclick=", "innerHTML"] {
                #expect(!page.text.contains(foreign), "\(foreign)")
            }
        }
    }

    @Test func thePolicyAllowsItsOwnScriptAndStyleToTheLetterAndNoOther() async throws {
        try await TestServer.run { server in
            let page = try await server.anonymous.get("/portal")
            let policy = try #require(page.header("Content-Security-Policy"))
            #expect(!policy.contains("unsafe"))
            for directive in [
                "default-src 'none'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
                "frame-ancestors 'none'",
            ] {
                #expect(policy.contains(directive))
            }
            for (element, directive) in [("script", "script-src"), ("style", "style-src")] {
                let parts = page.text.components(separatedBy: "<\(element)>")
                #expect(parts.count == 2, "one \(element)")
                let text = try #require(parts.last?.components(separatedBy: "</\(element)>").first)
                let hash = Data(SHA256.hash(data: Data(text.utf8))).base64EncodedString()
                #expect(policy.contains("\(directive) 'sha256-\(hash)';"))
            }
        }
    }

    @Test func onlyConfiguredOriginsMayEmbedIt() async throws {
        let origins = ["https://app.example.com", "https://*.acme.example"]
        try await TestServer.run(configure: { $0.portalFrameAncestors = origins }) { server in
            let policy = try await server.anonymous.get("/portal").header("Content-Security-Policy")
            #expect(policy?.hasSuffix("frame-ancestors https://app.example.com https://*.acme.example") == true)
            let other = try await server.anonymous.get("/docs").header("Content-Security-Policy")
            #expect(other?.contains("frame-ancestors 'none'") == true)
        }
    }

    @Test func aTokenInTheQueryIsRefusedAndNotLogged() async throws {
        try await TestServer.run { server in
            let answer = try await server.anonymous.get("/portal?token=tps_secret")
            #expect(answer.status == 400)
            #expect(!answer.text.contains("tps_secret"))
            #expect(!server.log.text.contains("tps_secret"))
        }
    }
}
