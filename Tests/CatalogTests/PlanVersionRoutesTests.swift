import TestSupport
import Testing
import Web

@Suite struct PlanVersionRoutesTests {
    private static let draft = """
        {"interval":"month","fees":[{"key":"platform","name":"Platform fee","amount":"20.00","charged":"in_advance"}],
         "charges":[{"feature":"tokens","price":{"model":"graduated","tiers":[
            {"up_to":"1000000","unit_amount":"0"},{"up_to":null,"unit_amount":"0.000002","flat_amount":"0"}]}}],
         "quotas":[{"feature":"tokens","limit":"5000000","window":"billing_period","mode":"hard","overage":"denied"}]}
        """

    @Test func aDraftChangesUntilItIsPublished() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            let made = try await server.expect(201, "POST", "/plans/pro/versions", Self.draft)
            #expect(made.header("Location") == "/api/v1/plans/pro/versions/1")
            #expect(made.json["status"]?.string == "draft")
            #expect(made.json["fees"]?[0]?["amount"]?.string == "20")
            let replaced = try await server.expect(
                200,
                "PUT",
                "/plans/pro/versions/1",
                #"{"fees":[],"minimum_commitment":"50.00"}"#,
                headers: ["If-Match": "\"1\""]
            )
            #expect(replaced.json["charges"]?.elements?.isEmpty == true)
            #expect(replaced.json["minimum_commitment"]?.string == "50")
            #expect(replaced.json["trial_days"]?.number == "0")
            #expect(replaced.json["spend_cap"] == .null)
            _ = try await server.expect(
                412,
                "PUT",
                "/plans/pro/versions/1",
                Self.draft,
                headers: ["If-Match": "\"1\""]
            )
            _ = try await server.expect(200, "PUT", "/plans/pro/versions/1", Self.draft)
            let published = try await server.expect(200, "POST", "/plans/pro/versions/1/publish")
            #expect(published.json["status"]?.string == "published")
            #expect(published.json["warnings"]?.elements?.isEmpty == true)
            let again = try await server.expect(200, "POST", "/plans/pro/versions/1/publish")
            #expect(again.json == published.json)
            for (method, body) in [("PUT", Self.draft), ("DELETE", "")] {
                let refused = try await server.expect(409, method, "/plans/pro/versions/1", body)
                #expect(refused.code == "plan_version_published")
            }
            #expect(try await server.expect(200, "GET", "/plans/pro").json["published_version"]?.number == "1")
        }
    }

    @Test func versionsAreNumberedListedAndDeletedAsDrafts() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            for number in 1...3 {
                let made = try await server.expect(201, "POST", "/plans/pro/versions", Self.draft)
                #expect(made.json["version"]?.number == String(number))
            }
            _ = try await server.expect(204, "DELETE", "/plans/pro/versions/2")
            _ = try await server.expect(404, "GET", "/plans/pro/versions/2")
            let first = try await server.expect(200, "GET", "/plans/pro/versions?limit=1")
            let cursor = try #require(first.json["next_cursor"]?.string)
            let second = try await server.expect(200, "GET", "/plans/pro/versions?limit=1&cursor=\(cursor)")
            #expect(first.json["data"]?[0]?["version"]?.number == "3")
            #expect(second.json["data"]?[0]?["version"]?.number == "1")
            for path in ["/plans/pro/versions/0", "/plans/pro/versions/x", "/plans/none/versions/1"] {
                _ = try await server.expect(404, "GET", path)
            }
            _ = try await server.expect(404, "POST", "/plans/none/versions", Self.draft)
        }
    }

    @Test func theNumberOfADeletedDraftIsNotGivenOutAgain() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            for number in 1...3 {
                let made = try await server.expect(201, "POST", "/plans/pro/versions", Self.draft)
                #expect(made.json["version"]?.number == String(number))
                #expect(made.header("Location") == "/api/v1/plans/pro/versions/\(number)")
                _ = try await server.expect(204, "DELETE", "/plans/pro/versions/\(number)")
            }
            // Versions that another replica's release has numbered count too, and plans count for themselves.
            try await server.database.run(
                """
                INSERT INTO plan_version (plan_version_id, plan_id, version, status, definition, created_at,
                    updated_at, revision)
                SELECT 1000000, plan_id, 7, 'draft', '{"interval":"month"}'::jsonb, now(), now(), 1 FROM plan
                """
            )
            let next = try await server.expect(201, "POST", "/plans/pro/versions", Self.draft)
            #expect(next.json["version"]?.number == "8")
            _ = try await server.expect(201, "POST", "/plans", #"{"key":"max","name":"Max","currency":"USD"}"#)
            let other = try await server.expect(201, "POST", "/plans/max/versions", Self.draft)
            #expect(other.json["version"]?.number == "1")
        }
    }

    @Test func publishingAgainTakesTheRevisionThatWasPublished() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            let path = "/plans/pro/versions/1/publish"
            _ = try await server.expect(201, "POST", "/plans/pro/versions", Self.draft)
            let first = try await server.expect(200, "POST", path, headers: ["If-Match": "\"1\""])
            #expect(first.header("ETag") == "\"2\"")
            let stale = try await server.expect(412, "POST", path, headers: ["If-Match": "\"1\""])
            #expect(stale.code == "precondition_failed")
            let conditions: [[String: String]] = [["If-Match": "\"2\""], [:]]
            for headers in conditions {
                let again = try await server.expect(200, "POST", path, headers: headers)
                #expect(again.text == first.text && again.header("ETag") == "\"2\"")
            }
        }
    }

    @Test func featuresMustExistAndSuitTheirQuota() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            _ = try await server.expect(
                201,
                "POST",
                "/meters",
                #"{"key":"peak","event_type":"job","aggregation":"max","value":"gpus"}"#
            )
            _ = try await server.expect(201, "POST", "/features", #"{"key":"peak","meter":"peak"}"#)
            let refused = try await server.expect(
                400,
                "POST",
                "/plans/pro/versions",
                """
                {"charges":[{"feature":"none","price":{"model":"per_unit","unit_amount":"1"}}],
                 "quotas":[{"feature":"peak","limit":"1","window":"day","mode":"hard"},
                           {"feature":"gone","limit":"1","window":"day"}]}
                """
            )
            #expect(refused.pointers == ["/charges/0/feature", "/quotas/0/feature", "/quotas/1/feature"])
            let soft = try await server.expect(
                400,
                "POST",
                "/plans/pro/versions",
                #"{"quotas":[{"feature":"peak","limit":"1","window":"day","mode":"soft"}]}"#
            )
            #expect(soft.pointers == ["/quotas/0/feature"])
        }
    }

    @Test func publishingWarnsOfOverlap() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            _ = try await server.expect(
                201,
                "POST",
                "/meters",
                #"{"key":"requests","event_type":"llm.completion","aggregation":"count"}"#
            )
            _ = try await server.expect(201, "POST", "/features", #"{"key":"requests","meter":"requests"}"#)
            let price = #"{"model":"per_unit","unit_amount":"1"}"#
            let body = #"{"charges":[{"feature":"tokens","price":\#(price)},{"feature":"requests","price":\#(price)}]}"#
            _ = try await server.expect(201, "POST", "/plans/pro/versions", body)
            for _ in 1...2 {
                let published = try await server.expect(200, "POST", "/plans/pro/versions/1/publish")
                let warnings = try #require(published.json["warnings"]?.elements)
                #expect(warnings.count == 1)
                #expect(warnings.first?["code"]?.string == "overlapping_charges")
                #expect(warnings.first?["pointer"]?.string == "/charges/1/feature")
            }
        }
    }

    @Test func publishingWarnsOfADefaultPriceForEachUser() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            let meter = """
                {"key":"calls","event_type":"call","aggregation":"count","dimensions":{"user":"user","model":"model"}}
                """
            _ = try await server.expect(201, "POST", "/meters", meter)
            _ = try await server.expect(201, "POST", "/features", #"{"key":"calls","meter":"calls"}"#)
            let body = """
                {"charges":[{"feature":"calls","price":{"model":"matrix","dimensions":["model","user"],"cells":[],
                 "default":{"model":"per_unit","unit_amount":"1"}}}]}
                """
            _ = try await server.expect(201, "POST", "/plans/pro/versions", body)
            let published = try await server.expect(200, "POST", "/plans/pro/versions/1/publish")
            let warning = published.json["warnings"]?.elements?.first
            #expect(warning?["code"]?.string == "unbounded_dimension")
            #expect(warning?["pointer"]?.string == "/charges/0/price/dimensions")
            #expect(warning?["detail"]?.string?.contains("values of user, and") == true)
        }
    }

    @Test func plansKeepTheirCurrency() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            #expect(
                try await server.expect(400, "PATCH", "/plans/pro", #"{"currency":"EUR"}"#).pointers == ["/currency"]
            )
            let renamed = try await server.expect(200, "PATCH", "/plans/pro", #"{"name":"Professional"}"#)
            #expect(renamed.json["name"]?.string == "Professional")
            let again = try await server.expect(409, "POST", "/plans", #"{"key":"pro","name":"Pro","currency":"USD"}"#)
            #expect(again.code == "plan_exists")
        }
    }
}
