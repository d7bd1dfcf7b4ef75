import Identity
import TestSupport
import Testing
import TurnpikeServer
import Web

@Suite struct OperatorKeyTests {
    private static let other = "tpk_operator2_zyxwvutsrqponmlkjihgfedcba9876543210"

    @Test func anotherValueReplacesTheKeyOfTheOldOne() async throws {
        try await TestDatabase.with { database in
            try await TestServer.run(on: database) { server in
                let answer = try await server.operatorClient.get("/api/v1/api-keys")
                #expect(answer.status == 200)
            }
            let key = try APIKeyText(parsing: Self.other)
            try await TestServer.run(on: database, configure: { $0.operatorKey = key }) { server in
                let old = try await server.operatorClient.get("/api/v1/api-keys")
                let new = try await server.anonymous.with(key: Self.other).get("/api/v1/api-keys")
                #expect(old.status == 401)
                #expect(new.status == 200)
                let shown = try await server.anonymous.with(key: Self.other).get("/api/v1/api-keys/operator")
                #expect(shown.header("ETag") == "\"2\"")
                let audited = try await server.anonymous.with(key: Self.other)
                    .get("/api/v1/audit-log?action=api_key.revoked").json["data"]?[0]
                #expect(audited?["resource"]?["key"]?.string == "operator")
                #expect(audited?["before"]?["revoked_at"]?.isNull == true)
                #expect(audited?["after"]?["revoked_at"] == shown.json["revoked_at"])
            }
        }
    }

    @Test func aStartWithoutTheVariableWarnsOfTheKeyThatItMadeUntilThatIsRevoked() async throws {
        try await TestDatabase.with { database in
            try await TestServer.run(on: database) { server in
                #expect(!server.log.text.contains("TURNPIKE_OPERATOR_KEY"))
            }
            func warning(_ server: TestServer) -> String? {
                server.log.lines.first { $0.contains("TURNPIKE_OPERATOR_KEY") }
            }
            try await TestServer.run(on: database, configure: { $0.operatorKey = nil }) { server in
                let told = warning(server)
                #expect(told?.contains(#""level":"warning""#) == true, "\(told ?? "nothing")")
                #expect(told?.contains(#""credential_id":"key:operator""#) == true, "\(told ?? "nothing")")
                try await server.operatorClient.delete("/api/v1/api-keys/operator").expecting(204)
            }
            try await TestServer.run(on: database, configure: { $0.operatorKey = nil }) { server in
                #expect(warning(server) == nil)
            }
        }
    }

    @Test func aRevokedKeyIsNotRevivedByAStartWhichSaysSo() async throws {
        try await TestDatabase.with { database in
            let key = try APIKeyText(parsing: Self.other)
            try await TestServer.run(on: database) { server in
                let spare = try await server.makeKey([.identityWrite, .auditRead])
                try await server.anonymous.with(key: spare).delete("/api/v1/api-keys/operator").expecting(204)
                #expect(try await server.operatorClient.get("/api/v1/api-keys").status == 401)
            }
            try await TestServer.run(on: database) { server in
                let refused = try await server.operatorClient.get("/api/v1/api-keys")
                #expect(refused.status == 401)
                let complaint = server.log.lines.first { $0.contains("TURNPIKE_OPERATOR_KEY") }
                #expect(complaint?.contains(#""level":"error""#) == true, "\(complaint ?? "nothing")")
            }
            try await TestServer.run(on: database, configure: { $0.operatorKey = key }) { server in
                let new = try await server.anonymous.with(key: Self.other).get("/api/v1/api-keys")
                #expect(new.status == 200)
            }
            // Going back to the revoked value takes nothing from the one in use.
            try await TestServer.run(on: database) { server in
                let refused = try await server.operatorClient.get("/api/v1/api-keys")
                let inUse = try await server.anonymous.with(key: Self.other).get("/api/v1/api-keys")
                #expect(refused.status == 401)
                #expect(inUse.status == 200)
            }
        }
    }

    @Test func startingAgainWithTheSameValueChangesNothing() async throws {
        try await TestDatabase.with { database in
            for _ in 0..<2 {
                try await TestServer.run(on: database) { server in
                    let log = try await server.operatorClient.get("/api/v1/audit-log?action=api_key.created")
                    #expect(log.json["data"]?.elements?.count == 1)
                }
            }
        }
    }

    @Test(arguments: [
        ("key_a_b", "start with 'tpk_'"),
        ("tpk_operator", "2 parts"),
        ("tpk_Op_0123456789abcdefghijklmnopqrstuvwxyz", "key id"),
        ("tpk_operator_short", "5 characters"),
        ("tpk_operator_0123456789abcdefghijklmnopqrstuvwx-z", "other than ASCII letters"),
    ])
    func aMalformedKeyIsRefusedWithItsFault(_ text: String, _ expected: String) throws {
        let fault = #expect(throws: APIKeyText.Fault.self) { _ = try APIKeyText(parsing: text) }
        #expect(fault?.description.contains(expected) == true)
    }
}
