import Postgres
import TestSupport
import Testing
import Web

/// A request that leaves something as it was keeps its revision, and leaves no audit row.
@Suite struct UnchangedTests {
    /// How many audit rows there are, the version of the shared catalogue, and the revisions of quotas in force.
    private static func trace(_ server: TestServer) async throws -> [String?] {
        try await server.column(
            """
            SELECT 'audit ' || count(*) FROM audit_log
            UNION ALL SELECT 'catalogue ' || version FROM catalog_version
            UNION ALL SELECT concat_ws(' ', 'quota', trim_scale(amount), revision) FROM usage_limit
            ORDER BY 1
            """
        )
    }

    /// Sends each body, which must leave everything as it was, and then one that is a change.
    private static func staysAsItIs(
        _ path: String,
        _ bodies: [String],
        then change: String,
        _ server: TestServer
    ) async throws {
        let shown = try await server.expect(200, "GET", path)
        let tag = try #require(shown.header("ETag"))
        let before = try await trace(server)
        server.clock.advance(seconds: 1)
        for body in bodies {
            let answer = try await server.expect(200, "PATCH", path, body, headers: ["If-Match": tag])
            #expect(answer.header("ETag") == tag, "\(path) \(body)")
            #expect(answer.text == shown.text, "\(path) \(body)")
            _ = try await server.expect(412, "PATCH", path, body, headers: ["If-Match": "\"77\""])
        }
        #expect(try await server.expect(200, "GET", path).header("ETag") == tag)
        #expect(try await trace(server) == before, "\(path)")
        let changed = try await server.expect(200, "PATCH", path, change, headers: ["If-Match": tag])
        #expect(changed.header("ETag") != tag, "\(path) \(change)")
        #expect(try await trace(server) != before, "\(path)")
    }

    @Test("a patch of the catalogue that names what is so already is none")
    func catalogue() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            for path in ["/meters/llm-tokens", "/features/tokens", "/plans/pro"] {
                let name = try await server.expect(200, "GET", path).json["name"]?.string ?? ""
                let equal = ["{}", #"{"name":"\#(name)"}"#]
                try await Self.staysAsItIs(path, equal, then: #"{"name":"Caf\#u{E9}"}"#, server)
                // What looks the same is other bytes, and a change.
                try await Self.staysAsItIs(
                    path,
                    [#"{"name":"Caf\#u{E9}"}"#],
                    then: #"{"name":"Cafe\#u{301}"}"#,
                    server
                )
            }
        }
    }

    @Test("a patch of a tenant that names what is so already is none, in whatever order it does")
    func tenants() async throws {
        try await TestServer.run { server in
            let made = """
                {"key":"acme","name":"Caf\u{E9}","currency":"USD","timezone":"Europe/Berlin","cost_center":"cc-1",
                 "subjects":["org_1","Org_2","a-3"],"metadata":{"tier":"gold","a":{"long":1,"b":100}},
                 "billing":{"tax":{"rates":[{"key":"vat","name":"VAT","percent":"19"}]},"payment_terms_days":14}}
                """
            _ = try await server.expect(201, "POST", "/tenants", made)
            let billing = #"{"payment_terms_days":14,"tax":{"rates":[{"name":"VAT","key":"vat","percent":"19.0"}]}}"#
            let equal = [
                "{}",
                #"{"name":"Caf\#u{E9}","timezone":"Europe/Berlin","cost_center":"cc-1","billing_email":null}"#,
                #"{"subjects":["a-3","Org_2","org_1"]}"#,
                #"{"metadata":{"tier":"gold","a":{"long":1,"b":100}}}"#,
                #"{"metadata":{"a":{"b":1e2,"long":1},"tier":"gold"},"billing":\#(billing)}"#,
            ]
            let path = "/tenants/acme"
            try await Self.staysAsItIs(path, equal, then: #"{"name":"Cafe\#u{301}"}"#, server)
            for change in [
                #"{"subjects":["a-3","org_1"]}"#, #"{"metadata":{"tier":"gold"}}"#, #"{"billing":null}"#,
                #"{"cost_center":null}"#,
            ] {
                try await Self.staysAsItIs(path, ["{}"], then: change, server)
            }
        }
    }

    @Test("a quota that is set to what it is stays, and open calls have nothing to follow")
    func quotas() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            try await server.publish(limit: "100")
            try await server.subscribe()
            let path = "/tenants/acme/quotas/tokens?window=day"
            let first = try await server.expect(200, "PUT", path, #"{"limit":"500","mode":"soft"}"#)
            #expect(first.header("ETag") == "\"1\"")
            let before = try await Self.trace(server)
            try await server.database.run("DELETE FROM hold_change")
            server.clock.advance(seconds: 1)
            for tag in ["\"1\"", "*"] {
                let body = #"{"mode":"soft","limit":"500.0"}"#
                let again = try await server.expect(200, "PUT", path, body, headers: ["If-Match": tag])
                #expect(again.header("ETag") == "\"1\"" && again.text == first.text)
            }
            _ = try await server.expect(
                412,
                "PUT",
                path,
                #"{"limit":"500","mode":"soft"}"#,
                headers: ["If-Match": "\"0\""]
            )
            #expect(try await Self.trace(server) == before)
            #expect(try await server.column("SELECT tenant_id::text FROM hold_change") == [])
            // Without a mode it says less than it did, and one that was removed is made anew.
            let other = try await server.expect(200, "PUT", path, #"{"limit":"500"}"#)
            #expect(other.header("ETag") == "\"2\"")
            _ = try await server.expect(204, "DELETE", path)
            let anew = try await server.expect(200, "PUT", path, #"{"limit":"500"}"#)
            #expect(anew.header("ETag") == "\"4\"")
        }
    }
}
