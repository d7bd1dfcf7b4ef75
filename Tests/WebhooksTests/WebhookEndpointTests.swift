import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Webhooks

/// `/webhook-endpoints` over HTTP.
@Suite struct WebhookEndpointTests {
    private static let path = "/api/v1/webhook-endpoints"

    @Test("the secret is shown when it is made and never again")
    func theSecretIsShownOnce() async throws {
        try await HookStory.run { server in
            let made = try await server.makeEndpoint("ops", "https://example.com/hook", events: "invoice.finalized")
            let secret = try #require(made["secret"]?.string)
            #expect(secret.hasPrefix("whsec_") && secret.count == 50)
            #expect(made["kind"]?.string == "webhook" && made["signing"]?.string == "hmac_sha256")
            #expect(made["tenant"] == .null && made["enabled"]?.bool == true)
            let one = try await server.operatorClient.get("\(Self.path)/ops").expecting(200)
            #expect(one.json["secret"] == nil && one.json["events"]?[0]?.string == "invoice.finalized")
            let list = try await server.operatorClient.get(Self.path).expecting(200)
            let unknown = try await server.operatorClient.patch(
                "\(Self.path)/ops",
                #"{"secret": "x", "kind": "slack"}"#
            )
            #expect(unknown.json["errors"]?.elements?.map { $0["code"]?.string } == ["immutable", "unknown_field"])
            #expect(unknown.text.contains(#"the fields are \"description\", \"enabled\", \"events\", \"url\""#))
            let patched = try await server.operatorClient.patch("\(Self.path)/ops", #"{"description": "new"}"#)
            #expect(patched.json["description"]?.string == "new")
            let log = try await server.operatorClient.get("/api/v1/audit-log?resource=webhook_endpoint:ops")
            #expect(log.json["data"]?.elements?.count == 2)
            for answer in [one, list, patched, log] { #expect(!answer.text.contains("whsec_")) }
            let stored = try await server.column(
                "SELECT encode(sealed_secret, 'base64') FROM webhook_endpoint ORDER BY endpoint_key LIMIT 1"
            )
            #expect(stored.count == 1 && stored.allSatisfy { $0?.contains(secret.dropFirst(6)) == false })
        }
    }

    @Test("the URL of a chat is a secret: it is never shown, and what is shown can be sent back")
    func chatURLsAreSecret() async throws {
        try await HookStory.run { server in
            let url = "https://hooks.slack.example:8443/services/T1/B2/s3cr3t?a=b"
            let made = try await server.makeEndpoint("chat", url, #", "kind": "slack""#)
            let shown = "https://hooks.slack.example:8443"
            #expect(made["url"]?.string == shown)
            let client = server.operatorClient
            try await client.patch("\(Self.path)/chat", #"{"url": "\#(shown)", "description": "x"}"#).expecting(200)
            let stored: SQL = "SELECT url FROM webhook_endpoint WHERE endpoint_key = 'chat'"
            #expect(try await server.column(stored) == [shown])
            let other = "https://hooks.slack.example:8443/services/T1/B2/an0ther"
            let moved = try await client.patch("\(Self.path)/chat", #"{"url": "\#(other)"}"#).expecting(200)
            #expect(moved.json["url"]?.string == shown && moved.header("ETag") == #""3""#)
            #expect(try await server.column(stored) == [shown])
            try await server.makeEndpoint("ops", "https://example.com/hook?token=s3cr3t")
            let hook = try await client.get("\(Self.path)/ops").expecting(200).json
            #expect(hook["url"]?.string == "https://example.com/hook?token=s3cr3t")
            try await client.patch("\(Self.path)/ops", #"{"enabled": false}"#).expecting(200)
            for key in ["chat", "ops"] { try await client.delete("\(Self.path)/\(key)").expecting(204) }
            let log = try await client.get("/api/v1/audit-log?limit=100").expecting(200).text
            #expect(!log.contains("s3cr3t") && !log.contains("an0ther"))
            let query = "action=webhook_endpoint.updated&resource=webhook_endpoint:chat"
            let updates = try await client.get("/api/v1/audit-log?\(query)").expecting(200).json["data"]?.elements
            #expect(updates?.count == 2)
            #expect(updates?.count { $0["after"]?["url_changed"]?.bool == true } == 1, "the one that changed its path")
            #expect(log.contains(shown) && log.contains("https://example.com/hook?***"))
        }
    }

    @Test("a change that says nothing of events leaves those of a later release among them")
    func eventsOfLaterReleases() async throws {
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", "https://example.com/hook", events: "limit.reached")
            try await server.database.run("UPDATE webhook_endpoint SET events = '{limit.reached,of.later}'")
            let stored: SQL = "SELECT events::text FROM webhook_endpoint LIMIT 9"
            let path = "\(Self.path)/ops"
            for body in [
                #"{"description": "x"}"#, #"{"enabled": false}"#, #"{"events": ["limit.reached"], "description": "y"}"#,
            ] {
                let changed = try await server.operatorClient.patch(path, body).expecting(200).json
                #expect(changed["events"]?.elements?.map(\.string) == ["limit.reached"])
                #expect(try await server.column(stored) == ["{limit.reached,of.later}"], "\(body)")
            }
            try await server.operatorClient.patch(path, #"{"events": ["invoice.paid"]}"#).expecting(200)
            #expect(try await server.column(stored) == ["{invoice.paid}"])
        }
    }

    @Test("a change names the version it means, and deleting ends it")
    func changesAreConditional() async throws {
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", "https://example.com/hook")
            let client = server.operatorClient
            let first = try await client.patch(
                "\(Self.path)/ops",
                #"{"enabled": false}"#,
                headers: ["If-Match": #""1""#]
            )
            #expect(first.status == 200 && first.header("ETag") == #""2""#)
            let stale = try await client.patch(
                "\(Self.path)/ops",
                #"{"enabled": true}"#,
                headers: ["If-Match": #""1""#]
            )
            #expect(stale.status == 412)
            #expect(try await client.post("\(Self.path)/ops/test").code == "webhook_endpoint_disabled")
            let once = ["Idempotency-Key": "once"]
            #expect(try await client.delete("\(Self.path)/ops", headers: ["If-Match": #""1""#]).status == 412)
            #expect(try await client.delete("\(Self.path)/ops", headers: once).status == 204)
            #expect(try await client.delete("\(Self.path)/ops", headers: once).header("Idempotency-Replayed") == "true")
            #expect(try await client.get("\(Self.path)/ops").code == "webhook_endpoint_not_found")
        }
    }

    @Test("deleting that is not done, or was done before, leaves the log of what was delivered")
    func logsOutliveRefusedDeletions() async throws {
        try await HookStory.run { server in
            try await server.makeEndpoint("ops", "https://example.com/hook")
            let client = server.operatorClient
            let once = ["Idempotency-Key": "once"]
            let fill = {
                let event = try await server.tell([.usageUnpriced])[0]
                try await server.database.run(
                    """
                    INSERT INTO webhook_delivery (tenant_id, delivery_id, endpoint_key, event_tenant_id, event_id,
                        event_type, status, attempt_count, failure_count, next_attempt_at, created_at, finished_at)
                    SELECT 0, gen_random_uuid(), 'ops', number, '\(event)', 'usage.unpriced', 'failed', 1, 1,
                        '2026-11-23T09:00:00Z', '2026-11-23T08:00:00Z', '2026-11-23T08:00:00Z'
                    FROM generate_series(1001, 5500) AS number
                    """
                )
            }
            let finished = {
                try await server.column(
                    "SELECT count(*)::text FROM webhook_delivery WHERE status = 'failed' LIMIT 9"
                )
            }
            try await fill()
            #expect(try await client.delete("\(Self.path)/ops", headers: ["If-Match": #""7""#]).status == 412)
            #expect(try await finished() == ["4500"])
            #expect(try await client.delete("\(Self.path)/ops", headers: once).status == 204)
            #expect(try await finished() == ["0"])
            try await server.makeEndpoint("ops", "https://example.com/hook")
            try await fill()
            #expect(try await client.delete("\(Self.path)/ops", headers: once).header("Idempotency-Replayed") == "true")
            #expect(try await finished() == ["4500"], "another endpoint has the key by now")
        }
    }

    @Test("what can't be an endpoint is refused, with what is wrong")
    func faultsAreTold() async throws {
        try await HookStory.run { server in
            let client = server.operatorClient
            for (body, pointer) in [
                (#"{"key": "a", "url": "ftp://x/", "events": ["*"]}"#, "/url"),
                (#"{"key": "a", "url": "https://u:p@example.com/", "events": ["*"]}"#, "/url"),
                (#"{"key": "a", "url": "https://example.com/", "events": []}"#, "/events"),
                (#"{"key": "a", "url": "https://example.com/", "events": ["invoice.finalised"]}"#, "/events/0"),
                (#"{"key": "a", "url": "https://example.com/", "events": ["*", "invoice.paid"]}"#, "/events/0"),
                (
                    #"{"key": "a", "kind": "slack", "signing": "ed25519", "url": "https://a.b/", "events": ["*"]}"#,
                    "/signing"
                ),
                (#"{"key": "a", "kind": "email", "url": "https://a.b/", "events": ["*"]}"#, "/url"),
                (#"{"key": "a", "kind": "email", "url": "mailto:a@b.c?cc=d@e.f", "events": ["*"]}"#, "/url"),
            ] {
                let answer = try await client.post(Self.path, body)
                #expect(answer.status == 400 && answer.pointers.contains(pointer), "\(body): \(answer)")
            }
            let both = #"{"key": "a", "url": "https://example.com/", "events": ["*", "invoice.paid"]}"#
            #expect(try await client.post(Self.path, both).text.contains("stands alone"))
            let none = #"{"key": "a", "url": "https://10.0.0.1/", "events": ["threshold_crossed"]}"#
            let faults = try await client.post(Self.path, none).text
            #expect(faults.contains(#"the types are \"budget.threshold_crossed\""#), "\(faults)")
            #expect(faults.contains("TURNPIKE_OUTBOUND_ALLOW"), "\(faults)")
            let acme = try await server.client([.webhooksWrite], tenant: "acme")
            #expect(try await acme.post(Self.path, none).text.contains("TURNPIKE_WEBHOOK_ALLOW"))
            let mailto = #"{"key": "a", "url": "mailto:a@b.c", "events": ["*"]}"#
            #expect(try await client.post(Self.path, mailto).text.contains(#"\"kind\" must be \"email\""#))
            let absent = try await client.get("\(Self.path)/absent")
            #expect(absent.status == 404 && absent.text.contains("?tenant=KEY"))
            try await server.makeEndpoint("ops", "https://example.com/hook")
            let again = try await client.post(Self.path, #"{"key": "ops", "url": "https://a.b/", "events": ["*"]}"#)
            #expect(again.status == 409 && again.code == "webhook_endpoint_exists")
            let fixed = try await client.patch("\(Self.path)/ops", #"{"kind": "slack", "url": null}"#)
            #expect(fixed.status == 400 && Set(fixed.pointers) == ["/kind", "/url"])
            #expect(try await client.patch("\(Self.path)/ops", #"{"url": "nonsense"}"#).pointers == ["/url"])
            let mail = try await client.post(
                Self.path,
                #"{"key": "m", "kind": "email", "url": "mailto:a@b.c", "events": ["*"]}"#
            )
            #expect(mail.status == 409 && mail.code == "mail_not_configured")
        }
    }

    @Test("without a master key no secret is kept, and so nothing is made that would have one")
    func secretsNeedTheMasterKey() async throws {
        try await HookStory.run(configure: { $0.tokens.masterKey = nil }) { server in
            let body = #"{"key": "a", "url": "https://example.com/", "events": ["*"]}"#
            let answer = try await server.operatorClient.post(Self.path, body)
            #expect(answer.status == 409 && answer.code == "webhooks_not_configured")
            let chat = #"{"key": "b", "kind": "slack", "url": "https://example.com/", "events": ["*"]}"#
            #expect(try await server.operatorClient.post(Self.path, chat).code == "webhooks_not_configured")
        }
    }

    @Test("an owner has a bounded number of endpoints")
    func theirNumberIsBounded() async throws {
        try await HookStory.run { server in
            try await server.database.run(
                """
                INSERT INTO webhook_endpoint (tenant_id, endpoint_key, kind, url, description, events, enabled,
                    created_at, updated_at, revision)
                SELECT 0, 'slack-' || number, 'slack', 'https://example.com/', '', '{*}', true, now(), now(), 1
                FROM generate_series(1, \(WebhookEndpointStore.maximumCount)) AS number
                """
            )
            let body = #"{"key": "a", "url": "https://example.com/", "events": ["*"]}"#
            let full = try await server.operatorClient.post(Self.path, body)
            #expect(full.status == 409 && full.code == "too_many_webhook_endpoints")
            let same = #"{"key": "slack-1", "url": "https://example.com/", "events": ["*"]}"#
            #expect(try await server.operatorClient.post(Self.path, same).code == "webhook_endpoint_exists")
            try await server.database.run("DELETE FROM webhook_endpoint WHERE endpoint_key = 'slack-1'")
            let made = try await withThrowingTaskGroup(of: Bool.self) { group in
                for index in 0..<8 {
                    group.addTask {
                        let own = body.replacing(#""a""#, with: "\"a\(index)\"")
                        return try await server.operatorClient.post(Self.path, own).status == 201
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(made == 1, "there was room for one")
            let acme = try await server.client([.webhooksWrite], tenant: "acme")
            #expect(try await acme.post(Self.path, body).status == 201)
        }
    }

    @Test("a tenant's credential has endpoints of its tenant, and knows of no others")
    func endpointsBelongToTheirTenant() async throws {
        try await HookStory.run { server in
            let acme = try await server.client([.webhooksRead, .webhooksWrite], tenant: "acme")
            let globex = try await server.client([.webhooksRead, .webhooksWrite], tenant: "globex")
            try await server.makeEndpoint("ops", "https://operator.example/")
            let own = try await server.makeEndpoint("ops", "https://acme.example/", by: acme)
            #expect(own["tenant"]?.string == "acme")
            try await server.makeEndpoint("ops", "https://globex.example/", #", "tenant": "globex""#)
            #expect(try await acme.get(Self.path).json["data"]?.elements?.count == 1)
            #expect(try await acme.get("\(Self.path)/ops").json["url"]?.string == "https://acme.example/")
            #expect(try await globex.get("\(Self.path)/ops").json["url"]?.string == "https://globex.example/")
            #expect(try await acme.get("\(Self.path)/ops?tenant=globex").code == "tenant_not_found")
            let other = #"{"key": "b", "url": "https://a.b/", "events": ["*"], "tenant": "globex"}"#
            #expect(try await acme.post(Self.path, other).pointers == ["/tenant"])
            let client = server.operatorClient
            #expect(try await client.get("\(Self.path)/ops").json["url"]?.string == "https://operator.example/")
            let named = try await client.get("\(Self.path)/ops?tenant=acme")
            #expect(named.json["url"]?.string == "https://acme.example/")
            let first = try await client.get("\(Self.path)?limit=2")
            let cursor = try #require(first.json["next_cursor"]?.string)
            let rest = try await client.get("\(Self.path)?limit=2&cursor=\(cursor)")
            let owners = (first.json["data"]?.elements ?? []) + (rest.json["data"]?.elements ?? [])
            #expect(owners.map { $0["tenant"]?.string } == [nil, "acme", "globex"])
            #expect(try await client.get("\(Self.path)?tenant=acme").json["data"]?.elements?.count == 1)
            #expect(try await client.delete("\(Self.path)/ops?tenant=acme").status == 204)
            #expect(try await globex.get("\(Self.path)/ops").status == 200)
        }
    }
}
