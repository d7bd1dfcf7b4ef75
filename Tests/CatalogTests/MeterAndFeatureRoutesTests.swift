import TestSupport
import Testing
import Web

@Suite struct MeterAndFeatureRoutesTests {
    @Test func whatAMeterMeasuresCannotChange() async throws {
        try await TestServer.run { server in
            let made = try await server.expect(201, "POST", "/meters", TestServer.meter)
            #expect(made.json["name"]?.string == "llm-tokens")
            #expect(made.json["value"]?["output"]?.string == "output_tokens")
            let immutable = try await server.expect(
                400,
                "PATCH",
                "/meters/llm-tokens",
                #"{"aggregation":"count","value":"x","dimensions":{}}"#
            )
            #expect(immutable.pointers == ["/aggregation", "/value", "/dimensions"])
            let renamed = try await server.expect(
                200,
                "PATCH",
                "/meters/llm-tokens",
                #"{"name":"Tokens"}"#,
                headers: ["If-Match": "\"1\""]
            )
            #expect(renamed.json["name"]?.string == "Tokens")
            _ = try await server.expect(412, "PATCH", "/meters/llm-tokens", "{}", headers: ["If-Match": "\"1\""])
            let got = try await server.expect(200, "GET", "/meters/llm-tokens")
            #expect(got.json["value"] == made.json["value"])
            #expect(try await server.expect(409, "POST", "/meters", TestServer.meter).code == "meter_exists")
        }
    }

    @Test func archivingFollowsUse() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            _ = try await server.expect(
                201,
                "POST",
                "/plans/pro/versions",
                #"{"charges":[{"feature":"tokens","price":{"model":"per_unit","unit_amount":"1"}}]}"#
            )
            let feature = try await server.expect(409, "DELETE", "/features/tokens")
            #expect(feature.code == "feature_in_use")
            #expect(feature.json["detail"]?.string?.contains("'pro v1'") == true)
            let meter = try await server.expect(409, "DELETE", "/meters/llm-tokens")
            #expect(meter.code == "meter_in_use")
            _ = try await server.expect(204, "DELETE", "/plans/pro/versions/1")
            _ = try await server.expect(204, "DELETE", "/features/tokens")
            _ = try await server.expect(204, "DELETE", "/features/tokens")
            _ = try await server.expect(204, "DELETE", "/meters/llm-tokens")
            #expect(try await server.expect(200, "GET", "/meters/llm-tokens").json["status"]?.string == "archived")
            #expect(try await server.expect(200, "GET", "/meters").json["data"]?.elements?.isEmpty == true)
            let all = try await server.expect(200, "GET", "/features?include_archived=true&meter=llm-tokens")
            #expect(all.json["data"]?.elements?.count == 1)
            let late = try await server.expect(400, "POST", "/features", #"{"key":"late","meter":"llm-tokens"}"#)
            #expect(late.pointers == ["/meter"])
            _ = try await server.expect(404, "DELETE", "/meters/none")
        }
    }

    @Test func whatAFeatureIsNeededForIsNamedWithWhatCanBeDone() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            func refusal() async throws -> String {
                let refused = try await server.expect(409, "DELETE", "/features/tokens")
                #expect(refused.code == "feature_in_use")
                return refused.json["detail"]?.string ?? ""
            }
            let version = #"{"charges":[{"feature":"tokens","price":{"model":"per_unit","unit_amount":"1"}}]}"#
            for number in 1...12 {
                _ = try await server.expect(201, "POST", "/plans/pro/versions", version)
                let names = (1...min(number, 10)).map { "'pro v\($0)'" }.joined(separator: ", ")
                let listed = number > 10 ? "\(names) and more" : names
                let detail = try await refusal()
                #expect(detail.contains(" \(listed). A draft can be changed or deleted"), "\(detail)")
            }
            for number in 1...12 { _ = try await server.expect(204, "DELETE", "/plans/pro/versions/\(number)") }
            let quota = "/tenants/acme/quotas/tokens?window=day"
            _ = try await server.expect(200, "PUT", quota, #"{"limit":"1"}"#)
            let detail = try await refusal()
            #expect(detail.contains("of its own for 'acme'. A tenant's quota can be removed"), "\(detail)")
            _ = try await server.expect(204, "DELETE", quota)
            _ = try await server.expect(204, "DELETE", "/features/tokens")
        }
    }

    @Test func aBoundCallerReadsTheCatalogueAndChangesNothing() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "10")
            let bound = try await server.client([.catalogRead, .catalogWrite], tenant: "acme")
            for path in [
                "/meters", "/meters/llm-tokens", "/features", "/features/tokens", "/plans", "/plans/pro",
                "/plans/pro/versions", "/plans/pro/versions/1",
            ] {
                _ = try await server.expect(200, "GET", path, as: bound)
            }
            for (method, path) in [
                ("POST", "/features"), ("PATCH", "/meters/llm-tokens"), ("PUT", "/plans/pro/versions/1"),
            ] {
                let refused = try await server.expect(403, method, path, "{}", as: bound)
                #expect(refused.code == "operator_only", "\(method) \(path)")
            }
        }
    }

    static let faulty: [(String, [String])] = [
        (#"{"key":"f","meter":"none"}"#, ["/meter"]),
        (#"{"key":"f","meter":"llm-tokens","filters":[{"dimension":"region","in":["eu"]}]}"#, ["/filters/0/dimension"]),
        (
            #"""
            {"key":"f","meter":"llm-tokens","filters":[{"dimension":"model","in":["a"]},
            {"dimension":"token_class","in":["input"]}]}
            """#,
            ["/filters/1/in"]
        ),
        (#"{"meter":"llm-tokens","unit":"","filters":[{"in":["a"]}]}"#, ["/filters/0/dimension", "/key", "/unit"]),
    ]

    @Test func featuresPointAtEveryFault() async throws {
        try await TestServer.run { server in
            _ = try await server.expect(201, "POST", "/meters", TestServer.meter)
            for (body, pointers) in Self.faulty {
                let refused = try await server.expect(400, "POST", "/features", body)
                #expect(Set(refused.pointers) == Set(pointers), "\(refused)")
            }
            let fine = """
                {"key":"chat-tokens","name":"Chat tokens","meter":"llm-tokens","unit":"token",
                 "filters":[{"dimension":"model","in":["gpt-4o"]},{"dimension":"token_class","not_in":["output"]}]}
                """
            let made = try await server.expect(201, "POST", "/features", fine)
            let filters = try #require(made.json["filters"]?.elements)
            #expect(filters.first?["in"] == .array([.string("gpt-4o")]))
            let immutable = try await server.expect(
                400,
                "PATCH",
                "/features/chat-tokens",
                #"{"meter":"x","unit":"y","filters":[]}"#
            )
            #expect(immutable.pointers == ["/meter", "/filters", "/unit"])
            let renamed = try await server.expect(200, "PATCH", "/features/chat-tokens", #"{"name":"Chat"}"#)
            #expect(renamed.json["name"]?.string == "Chat" && renamed.json["unit"]?.string == "token")
        }
    }
}
