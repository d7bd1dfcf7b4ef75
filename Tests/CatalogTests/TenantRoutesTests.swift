import TestSupport
import Testing
import Web

@Suite struct TenantRoutesTests {
    private static let acme = """
        {"key":"acme","name":"Acme GmbH","currency":"USD","timezone":"Europe/Berlin","subjects":["acme-prod","org_123"],
         "cost_center":"cc-12","billing_email":"ap@acme.example","metadata":{"tier":"gold"}}
        """

    @Test func createsShowsAndListsTenants() async throws {
        try await TestServer.run { server in
            let made = try await server.expect(201, "POST", "/tenants", Self.acme)
            #expect(made.header("Location") == "/api/v1/tenants/acme")
            let got = try await server.expect(200, "GET", "/tenants/acme")
            #expect(got.json == made.json)
            #expect(got.json["subjects"] == .array([.string("acme-prod"), .string("org_123")]))
            #expect(got.json["metadata"]?["tier"]?.string == "gold")
            #expect(got.json["status"]?.string == "active")
            #expect(got.header("ETag") == "\"1\"")
            for key in ["beta", "gamma"] {
                _ = try await server.expect(201, "POST", "/tenants", #"{"key":"\#(key)","name":"T","currency":"EUR"}"#)
            }
            let first = try await server.expect(200, "GET", "/tenants?limit=2")
            #expect(first.json["data"]?.elements?.compactMap { $0["key"]?.string } == ["acme", "beta"])
            let cursor = try #require(first.json["next_cursor"]?.string)
            let second = try await server.expect(200, "GET", "/tenants?limit=2&cursor=\(cursor)")
            #expect(second.json["data"]?.elements?.compactMap { $0["key"]?.string } == ["gamma"])
            #expect(second.json["next_cursor"]?.isNull == true)
        }
    }

    @Test func aSubjectOrKeyBelongsToOneTenantOnly() async throws {
        try await TestServer.run { server in
            _ = try await server.expect(201, "POST", "/tenants", Self.acme)
            let again = try await server.expect(409, "POST", "/tenants", Self.acme)
            #expect(again.code == "tenant_exists")
            let subject = #"{"key":"beta","name":"B","currency":"USD","subjects":["mine","org_123"]}"#
            let taken = try await server.expect(409, "POST", "/tenants", subject)
            #expect(taken.code == "subject_taken")
            #expect(taken.pointers == ["/subjects/1"])
            #expect(taken.json["detail"]?.string?.contains("'org_123'") == true)
            let key = #"{"key":"beta","name":"B","currency":"USD","subjects":["acme"]}"#
            #expect(try await server.expect(409, "POST", "/tenants", key).pointers == ["/subjects/0"])
            let named = #"{"key":"org_123","name":"B","currency":"USD"}"#
            #expect(try await server.expect(409, "POST", "/tenants", named).code == "subject_taken")
            _ = try await server.expect(404, "GET", "/tenants/beta")
            _ = try await server.expect(404, "GET", "/tenants/org_123")
        }
    }

    @Test func billingSettingsAreShownReplacedAndClearedWhole() async throws {
        try await TestServer.run { server in
            let billing = """
                {"tax":{"rates":[{"key":"vat","name":"VAT","percent":"19"}],"inclusive":true},"payment_terms_days":14,
                 "address":{"line1":"Hauptstr. 1","city":"Berlin","country":"DE"},"tax_id":"DE1"}
                """
            let body = #"{"key":"acme","name":"A","currency":"EUR","billing":\#(billing)}"#
            let made = try await server.expect(201, "POST", "/tenants", body)
            #expect(made.json["billing"]?["tax"]?["rates"]?[0]?["percent"]?.string == "19")
            #expect(made.json["billing"]?["tax"]?["inclusive"]?.bool == true)
            #expect(made.json["billing"]?["address"]?["city"]?.string == "Berlin")
            #expect(try await server.expect(200, "GET", "/tenants/acme").json == made.json)
            let change = #"{"billing":{"payment_terms_days":0}}"#
            let changed = try await server.expect(200, "PATCH", "/tenants/acme", change).json["billing"]
            #expect(changed?["payment_terms_days"]?.number == "0")
            #expect(changed?["tax"]?["rates"]?.elements == [] && changed?["tax_id"]?.isNull == true)
            let cleared = try await server.expect(200, "PATCH", "/tenants/acme", #"{"billing":null}"#)
            #expect(cleared.json["billing"]?["payment_terms_days"]?.number == "30")
        }
    }

    static let faulty: [(String, [String])] = [
        (
            """
            {"key":"a","name":"A","currency":"USD",
             "billing":{"tax":{"rates":[{"key":"v","name":"V","percent":"0.00001"}]}}}
            """,
            ["/billing/tax/rates/0/percent"]
        ),
        (#"{"key":"a","name":"A","currency":"USD","billing":{"vat":"x"}}"#, ["/billing/vat"]),
        ("{}", ["/key", "/name", "/currency"]),
        (#"{"key":"a","name":"A","currency":"usd"}"#, ["/currency"]),
        (#"{"key":"a","name":"A","currency":"USD","timezone":"EST5"}"#, ["/timezone"]),
        (#"{"key":"a","name":"A","currency":"USD","subjects":["x","a","x"]}"#, ["/subjects/2", "/subjects/1"]),
        (#"{"key":"a","name":"A","currency":"USD","billing_email":"nobody"}"#, ["/billing_email"]),
        (#"{"key":"a","name":"A","currency":"USD","metadata":[1],"plan":"pro"}"#, ["/metadata", "/plan"]),
    ]

    @Test func pointsAtEveryFault() async throws {
        try await TestServer.run { server in
            for (body, pointers) in Self.faulty {
                let refused = try await server.expect(400, "POST", "/tenants", body)
                #expect(refused.code == "validation_failed")
                #expect(Set(refused.pointers) == Set(pointers), "\(body)")
            }
        }
    }

    @Test func aPatchKeepsWhatItDoesNotNameAndClearsWhatIsNull() async throws {
        try await TestServer.run { server in
            _ = try await server.expect(201, "POST", "/tenants", Self.acme)
            let patch = #"{"name":"Acme SE","cost_center":null,"subjects":["org_123","new"]}"#
            let changed = try await server.expect(200, "PATCH", "/tenants/acme", patch, headers: ["If-Match": "\"1\""])
            #expect(changed.header("ETag") == "\"2\"")
            #expect(changed.json["name"]?.string == "Acme SE")
            #expect(changed.json["cost_center"]?.isNull == true)
            #expect(changed.json["billing_email"]?.string == "ap@acme.example")
            #expect(changed.json["subjects"] == .array([.string("new"), .string("org_123")]))
            let other = #"{"key":"beta","name":"B","currency":"USD","subjects":["acme-prod"]}"#
            _ = try await server.expect(201, "POST", "/tenants", other)
            let taken = try await server.expect(409, "PATCH", "/tenants/acme", #"{"subjects":["new","acme-prod"]}"#)
            #expect(taken.pointers == ["/subjects/1"])
            let lost = try await server.expect(412, "PATCH", "/tenants/acme", "{}", headers: ["If-Match": "\"1\""])
            #expect(lost.code == "precondition_failed")
            let immutable = try await server.expect(
                400,
                "PATCH",
                "/tenants/acme",
                #"{"key":"a","currency":"EUR","name":null}"#
            )
            #expect(immutable.pointers == ["/key", "/currency", "/name"])
            _ = try await server.expect(404, "PATCH", "/tenants/nobody", "{}")
        }
    }

    @Test func suspendingAndResumingAreIdempotent() async throws {
        try await TestServer.run { server in
            _ = try await server.expect(201, "POST", "/tenants", Self.acme)
            for _ in 1...2 {
                let suspended = try await server.expect(200, "POST", "/tenants/acme/suspend")
                #expect(suspended.json["status"]?.string == "suspended")
                #expect(suspended.header("ETag") == "\"2\"")
            }
            let suspended = try await server.expect(200, "GET", "/tenants?status=suspended")
            #expect(suspended.json["data"]?.elements?.count == 1)
            let active = try await server.expect(200, "GET", "/tenants?status=active")
            #expect(active.json["data"]?.elements?.isEmpty == true)
            #expect(try await server.expect(400, "GET", "/tenants?status=gone").pointers == ["?status"])
            let resumed = try await server.expect(200, "POST", "/tenants/acme/resume")
            #expect(resumed.json["status"]?.string == "active")
            let log = try await server.expect(200, "GET", "/audit-log?tenant=acme")
            let actions = log.json["data"]?.elements?.compactMap { $0["action"]?.string } ?? []
            #expect(actions.sorted() == ["tenant.created", "tenant.resumed", "tenant.suspended"])
        }
    }

    @Test func aBoundCallerSeesItsOwnTenantOnlyAndChangesNone() async throws {
        try await TestServer.run { server in
            _ = try await server.expect(201, "POST", "/tenants", Self.acme)
            _ = try await server.expect(201, "POST", "/tenants", #"{"key":"beta","name":"B","currency":"USD"}"#)
            let bound = try await server.client([.tenantsRead, .tenantsWrite, .catalogWrite], tenant: "acme")
            let own = try await server.expect(200, "GET", "/tenants/acme", as: bound)
            #expect(own.json["subjects"]?.elements?.count == 2)
            let list = try await server.expect(200, "GET", "/tenants", as: bound)
            #expect(list.json["data"]?.elements?.compactMap { $0["key"]?.string } == ["acme"])
            let other = try await server.expect(404, "GET", "/tenants/beta", as: bound)
            let absent = try await server.expect(404, "GET", "/tenants/nobody", as: bound)
            #expect(other.code == absent.code)
            _ = try await server.expect(404, "PATCH", "/tenants/beta", "{}", as: bound)
            #expect(try await server.expect(403, "PATCH", "/tenants/acme", "{}", as: bound).code == "operator_only")
            _ = try await server.expect(403, "POST", "/tenants/acme/suspend", as: bound)
            _ = try await server.expect(403, "POST", "/tenants", #"{"key":"c","name":"C","currency":"USD"}"#, as: bound)
            _ = try await server.expect(403, "POST", "/plans", #"{"key":"c","name":"C","currency":"USD"}"#, as: bound)
        }
    }

    @Test func theSameIdempotencyKeyMakesOneTenant() async throws {
        try await TestServer.run { server in
            let key = ["Idempotency-Key": "once"]
            let first = try await server.expect(201, "POST", "/tenants", Self.acme, headers: key)
            let second = try await server.expect(201, "POST", "/tenants", Self.acme, headers: key)
            #expect(first.body == second.body)
        }
    }

    @Test func aLargeNumberInTheMetadataIsShownAndAuditedAsItIsStored() async throws {
        try await TestServer.run { server in
            let body = #"{"key":"acme","name":"A","currency":"USD","metadata":{"large":1e400}}"#
            _ = try await server.expect(201, "POST", "/tenants", body)
            let stored = "\"metadata\":{\"large\":1" + String(repeating: "0", count: 400) + "}"
            #expect(try await server.expect(200, "GET", "/tenants/acme").text.contains(stored))
            let renamed = try await server.expect(200, "PATCH", "/tenants/acme", #"{"name":"B"}"#)
            #expect(renamed.text.contains(stored))
            let log = try await server.expect(200, "GET", "/audit-log?resource=tenant:acme&action=tenant.updated")
            #expect(log.text.ranges(of: stored).count == 2, "before and after")
        }
    }
}
