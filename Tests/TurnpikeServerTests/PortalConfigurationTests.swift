import Testing

@testable import TurnpikeServer

@Suite struct PortalConfigurationTests {
    private func configuration(_ settings: [String: String]) throws -> Configuration {
        try Configuration(environment: ["DATABASE_URL": "postgres://u@h/d"].merging(settings) { $1 })
    }

    @Test func thePageIsWhereTheServiceListensUnlessItIsToldOtherwise() throws {
        #expect(try configuration([:]).portalURL == "http://127.0.0.1:8080/portal")
        #expect(try configuration(["TURNPIKE_HOST": "::1"]).portalURL == "http://[::1]:8080/portal")
        for everywhere in ["0.0.0.0", "::"] {
            let page = try configuration(["TURNPIKE_HOST": everywhere, "TURNPIKE_PORT": "80"]).portalURL
            #expect(page == "http://127.0.0.1:80/portal")
        }
        let own = "https://billing.example.com/portal"
        #expect(try configuration(["TURNPIKE_PORTAL_URL": own]).portalURL == own)
    }

    @Test(arguments: [
        "billing.example.com", "https://x/portal?a=1", "https://x/portal#a", "ftp://x/portal", "https://",
    ])
    func whatIsNoPageIsAFault(_ url: String) {
        #expect(throws: ConfigurationFault.self) { try configuration(["TURNPIKE_PORTAL_URL": url]) }
    }

    @Test func originsAreTakenAsTheyAreAndNothingElseIs() throws {
        let name = "TURNPIKE_PORTAL_FRAME_ANCESTORS"
        let read = try configuration([name: "https://a.example, https://*.b.example:8443"])
        #expect(read.portalFrameAncestors == ["https://a.example", "https://*.b.example:8443"])
        for bad in ["*", "a.example", "https://a.example/x", "https://a.example; script-src *", "'self'"] {
            #expect(throws: ConfigurationFault.self) { try configuration([name: bad]) }
        }
    }
}
