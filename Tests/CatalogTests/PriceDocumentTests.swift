import Foundation
import TestSupport
import Testing
import Web

/// The prices that `docs/rules.md` shows as JSON can be published as they stand there.
@Suite struct PriceDocumentTests {
    @Test func everyModelIsPublishedAsTheRulesWriteIt() async throws {
        let file = TestTools.packageRoot.appendingPathComponent("docs/rules.md")
        let page = try String(contentsOf: file, encoding: .utf8)
        let section = try #require(page.split(separator: "### How each is written").last)
        let block = try #require(section.split(separator: "```json").dropFirst().first?.split(separator: "```").first)
        let charges = try #require(try JSONValue(parsing: String(block)).elements)
        let models = charges.compactMap { $0["price"]?["model"]?.string }
        #expect(
            models == [
                "flat", "per_unit", "graduated", "volume", "stairstep", "package", "percentage", "cost_plus", "matrix",
            ]
        )
        try await TestServer.run { server in
            let meter = """
                {"key":"units","event_type":"used","aggregation":"sum","value":"units","dimensions":{"model":"model"}}
                """
            try await server.ask("POST", "/meters", meter, expecting: 201)
            for charge in charges {
                let feature = charge["feature"]?.string ?? ""
                let body = #"{"key":"\#(feature)","meter":"units","unit":"unit"}"#
                try await server.ask("POST", "/features", body, expecting: 201)
            }
            try await server.publish(#"{"charges":\#(block)}"#)
        }
    }
}
