import Postgres
import TestSupport
import Testing
import Web

@Suite struct PriceBookRoutesTests {
    private static let named = #""provider":"p","model":"m","effective_from":"2026-01-01T00:00:00Z""#

    private static func entry(
        provider: String = "openai",
        model: String = "gpt-4o*",
        _ component: String = #""token_class":"output""#,
        amount: String = "0.00001",
        from: String = "2026-01-01T00:00:00Z",
        above: Int = 0
    ) -> String {
        """
        {"provider":"\(provider)","model":"\(model)",\(component),"unit_amount":"\(amount)","currency":"USD",
         "effective_from":"\(from)","above_input_tokens":\(above)}
        """
    }

    @Test func `a price is made, shown, and deleted while nothing used it`() async throws {
        try await TestServer.run { server in
            let made = try await server.expect(201, "POST", "/price-book", Self.entry())
            let id = try #require(made.json["id"]?.string)
            #expect(made.header("Location") == "/api/v1/price-book/\(id)")
            #expect(made.json["token_class"]?.string == "output" && made.json["unit"] == .null)
            #expect(made.json["unit_amount"]?.string == "0.00001")
            #expect(made.json["source"]?.string == "api" && made.json["used"] == .bool(false))
            #expect(try await server.expect(200, "GET", "/price-book/\(id)").json == made.json)
            let twin = try await server.expect(409, "POST", "/price-book", Self.entry(amount: "1"))
            #expect(twin.code == "price_exists" && twin.pointers == ["/effective_from"])
            _ = try await server.expect(204, "DELETE", "/price-book/\(id)")
            _ = try await server.expect(404, "DELETE", "/price-book/\(id)")
            _ = try await server.expect(404, "GET", "/price-book/nothing")
            _ = try await server.expect(201, "POST", "/price-book", Self.entry(amount: "1"))
            let actions = try await server.column("SELECT action FROM audit_log WHERE action LIKE 'price%' ORDER BY 1")
            #expect(actions == ["price.created", "price.created", "price.deleted"])
        }
    }

    @Test func `a price that a cost refers to stays`() async throws {
        try await TestServer.run { server in
            let made = try await server.expect(201, "POST", "/price-book", Self.entry())
            let id = try #require(made.json["id"]?.string)
            try await server.database.run(
                """
                INSERT INTO price_set (price_set_id, set_key, currency, is_reported, created_at)
                VALUES (1, 'x', 'USD', false, now());
                INSERT INTO price_set_entry (price_set_id, price_id) VALUES (1, '\(id)');
                """
            )
            #expect(try await server.expect(409, "DELETE", "/price-book/\(id)").code == "price_in_use")
            #expect(try await server.expect(200, "GET", "/price-book/\(id)").json["used"] == .bool(true))
        }
    }

    @Test(arguments: [
        (
            #"{"provider":"","model":"a*b","token_class":"x","unit_amount":"-1","effective_from":"soon"}"#,
            ["/provider", "/model", "/token_class", "/unit_amount", "/effective_from"]
        ),
        (#"{"token_class":"input","unit":"request","unit_amount":"1",\#(named)}"#, ["/unit"]),
        (#"{"unit_amount":"1",\#(named)}"#, ["/token_class"]),
        (#"{"token_class":"input","unit_amount":"0.0000000000001",\#(named)}"#, ["/unit_amount"]),
        (#"{"token_class":"input","unit_amount":"1","currency":"EUR",\#(named)}"#, ["/currency"]),
        (
            #"{"token_class":"input","unit_amount":"1","above_input_tokens":-1,"tier":2,\#(named)}"#,
            ["/above_input_tokens", "/tier"]
        ),
    ])
    func `faults of a price are told at once, with pointers`(body: String, pointers: [String]) async throws {
        try await TestServer.run { server in
            let refused = try await server.expect(400, "POST", "/price-book", body)
            #expect(refused.pointers == pointers)
        }
    }

    @Test func `lists show a price's history together, what is in force, and pages`() async throws {
        try await TestServer.run { server in
            for (amount, from) in [("3", "2026-03-01"), ("1", "2026-01-01"), ("2", "2026-02-01")] {
                let body = Self.entry(amount: amount, from: from + "T00:00:00Z")
                _ = try await server.expect(201, "POST", "/price-book", body)
            }
            _ = try await server.expect(201, "POST", "/price-book", Self.entry(amount: "9", above: 200_000))
            _ = try await server.expect(201, "POST", "/price-book", Self.entry(model: "a", #""unit":"request""#))
            _ = try await server.expect(201, "POST", "/price-book", Self.entry(provider: "a", model: "z"))
            func amounts(_ query: String) async throws -> [String] {
                let page = try await server.expect(200, "GET", "/price-book\(query)").json["data"]?.elements ?? []
                return page.compactMap { $0["unit_amount"]?.string }
            }
            #expect(try await amounts("?model=gpt-4o*") == ["1", "2", "3", "9"])
            #expect(try await amounts("?unit=request") == ["0.00001"])
            #expect(try await amounts("?provider=a&token_class=output") == ["0.00001"])
            #expect(try await amounts("?model=gpt-4o*&effective_at=2026-02-28T00:00:00Z") == ["2", "9"])
            #expect(try await amounts("?model=gpt-4o*&effective_at=2025-02-28T00:00:00Z") == [])
            _ = try await server.expect(400, "GET", "/price-book?token_class=request")
            _ = try await server.expect(400, "GET", "/price-book?token_class=input&unit=request")
            var seen: [String] = []
            var cursor: String?
            repeat {
                let query = "?limit=2" + (cursor.map { "&cursor=\($0)" } ?? "")
                let page = try await server.expect(200, "GET", "/price-book\(query)").json
                seen += (page["data"]?.elements ?? []).compactMap { $0["id"]?.string }
                cursor = page["next_cursor"]?.string
            } while cursor != nil && seen.count < 20
            #expect(seen.count == 6 && Set(seen).count == 6)
        }
    }

    @Test func `an exchange rate is above zero, between two currencies, and one per start`() async throws {
        try await TestServer.run { server in
            let body = #"{"from":"USD","to":"EUR","rate":"0.92","effective_from":"2026-01-01T00:00:00Z"}"#
            let made = try await server.expect(201, "POST", "/fx-rates", body)
            let id = try #require(made.json["id"]?.string)
            #expect(try await server.expect(200, "GET", "/fx-rates/\(id)").json == made.json)
            #expect(try await server.expect(409, "POST", "/fx-rates", body).code == "fx_rate_exists")
            for (rate, to, pointer) in [("0", "EUR", "/rate"), ("1", "USD", "/to"), ("1", "XXX", "/to")] {
                let faulty = """
                    {"from":"USD","to":"\(to)","rate":"\(rate)","effective_from":"2026-01-01T00:00:00Z"}
                    """
                #expect(try await server.expect(400, "POST", "/fx-rates", faulty).pointers == [pointer])
            }
            let listed = try await server.expect(200, "GET", "/fx-rates?from=USD&to=EUR").json["data"]?.elements
            #expect(listed?.count == 1)
            #expect(try await server.expect(200, "GET", "/fx-rates?from=EUR").json["data"]?.elements == [])
            try await server.database.run("UPDATE fx_rate SET used_at = now()")
            #expect(try await server.expect(409, "DELETE", "/fx-rates/\(id)").code == "fx_rate_in_use")
            try await server.database.run("UPDATE fx_rate SET used_at = NULL")
            _ = try await server.expect(204, "DELETE", "/fx-rates/\(id)")
            _ = try await server.expect(404, "GET", "/fx-rates/\(id)")
        }
    }

    @Test func `a tenant's credential sees nothing of provider costs`() async throws {
        try await TestServer.run { server in
            try await server.arrange()
            let bound = try await server.client([.catalogRead, .catalogWrite], tenant: "acme")
            for path in ["/price-book", "/fx-rates", "/price-book/0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f60"] {
                #expect(try await server.expect(403, "GET", path, as: bound).code == "operator_only")
            }
            _ = try await server.expect(403, "POST", "/price-book", Self.entry(), as: bound)
            #expect(try await server.column("SELECT count(*)::text FROM price_book") == ["0"])
        }
    }
}
