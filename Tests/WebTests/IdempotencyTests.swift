import Identity
import TurnpikeServer
import Identity
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@Suite struct IdempotencyTests {
    private let path = "/api/v1/api-keys"
    private let body = #"{"name": "once", "scopes": ["audit:read"]}"#

    private func keyCount(_ server: TestServer) async throws -> Int {
        try await server.operatorClient.get(path).json["data"]?.elements?.count ?? 0
    }

    @Test func aRepeatedRequestGetsTheFirstAnswerAndDoesNothingAgain() async throws {
        try await TestServer.run { server in
            let headers = ["Idempotency-Key": "abc-1"]
            let first = try await server.operatorClient.post(path, body, headers: headers)
            let second = try await server.operatorClient.post(path, body, headers: headers)
            #expect(first.status == 201)
            #expect(first.header("Idempotency-Replayed") == nil)
            #expect(second.status == 201)
            #expect(second.body == first.body)
            #expect(second.header("Location") == first.header("Location"))
            #expect(second.header("Content-Type") == "application/json")
            #expect(second.header("Idempotency-Replayed") == "true")
            #expect(second.header("X-Request-Id") != first.header("X-Request-Id"))
            #expect(try await keyCount(server) == 2)
        }
    }

    @Test func theSameKeyForAnotherRequestIsRefused() async throws {
        try await TestServer.run { server in
            let headers = ["Idempotency-Key": "abc-1"]
            _ = try await server.operatorClient.post(path, body, headers: headers)
            let other = try await server.operatorClient.post(
                path,
                #"{"name": "another", "scopes": ["audit:read"]}"#,
                headers: headers
            )
            #expect(other.status == 422)
            #expect(other.code == "idempotency_key_reused")
            #expect(try await keyCount(server) == 2)
        }
    }

    @Test func twoCredentialsDoNotShareTheirKeys() async throws {
        try await TestServer.run { server in
            let headers = ["Idempotency-Key": "abc-1"]
            let other = try await server.client([.identityWrite, .auditRead])
            let first = try await server.operatorClient.post(path, body, headers: headers)
            let second = try await other.post(path, body, headers: headers)
            #expect(second.status == 201)
            #expect(second.json["id"] != first.json["id"])
        }
    }

    @Test func aRefusalIsNotRemembered() async throws {
        try await TestServer.run { server in
            let headers = ["Idempotency-Key": "retry"]
            let bound = #"{"name": "x", "scopes": ["audit:read"], "tenant": "acme"}"#
            let refused = try await server.operatorClient.post(path, bound, headers: headers)
            #expect(refused.status == 400)
            try await server.database.run("INSERT INTO subject_directory VALUES ('acme', 1, true)")
            let accepted = try await server.operatorClient.post(path, bound, headers: headers)
            #expect(accepted.status == 201)
        }
    }

    @Test func whileTheFirstStillRunsTheSecondIsToldSo() async throws {
        try await TestServer.run { server in
            // The service's role may not lock this table; its owner may.
            let pool = PostgresPool(PostgresConfiguration(url: server.database.url).asOwner())
            let lock = Task { try await pool.holdTable("audit_log") }
            defer { lock.cancel() }
            #expect(try await eventually { try await pool.locks(on: "audit_log") != 0 })
            let headers = ["Idempotency-Key": "slow"]
            let client = server.operatorClient
            async let first = client.post(path, body, headers: headers)
            // The first has its claim and waits for the table.
            #expect(try await eventually { try await pool.locks(on: "audit_log", granted: false) != 0 })
            let second = try await client.post(path, body, headers: headers)
            #expect(second.status == 409)
            #expect(second.code == "idempotency_key_in_use")
            #expect(second.header("Retry-After") == "1")
            lock.cancel()
            let answered = try await first
            #expect(answered.status == 201)
            let third = try await client.post(path, body, headers: headers)
            #expect(third.body == answered.body)
            await pool.close()
        }
    }

    @Test func manyAtOnceMakeOneThing() async throws {
        try await TestServer.run { server in
            let client = server.operatorClient
            let (path, body) = (path, body)
            let answers = try await withThrowingTaskGroup(of: TestResponse.self) { group in
                for _ in 0..<24 {
                    group.addTask { try await client.post(path, body, headers: ["Idempotency-Key": "race"]) }
                }
                return try await group.reduce(into: [TestResponse]()) { $0.append($1) }
            }
            #expect(answers.allSatisfy { $0.status == 201 || $0.code == "idempotency_key_in_use" })
            #expect(Set(answers.filter { $0.status == 201 }.map(\.text)).count == 1)
            #expect(try await keyCount(server) == 2)
        }
    }

    @Test func afterADayTheKeyIsFreeAgainAndTheSweepRemovesTheRow() async throws {
        try await TestServer.run { server in
            let headers = ["Idempotency-Key": "daily"]
            let first = try await server.operatorClient.post(path, body, headers: headers)
            server.clock.advance(seconds: 24 * 60 * 60 - 1)
            let held = try await server.operatorClient.post(path, body, headers: headers)
            #expect(held.body == first.body)
            server.clock.advance(seconds: 1)
            let again = try await server.operatorClient.post(path, body, headers: headers)
            #expect(again.status == 201)
            #expect(again.json["id"] != first.json["id"])

            server.clock.advance(seconds: 24 * 60 * 60)
            let pool = PostgresPool(PostgresConfiguration(url: server.database.url))
            let worker = IdempotencyExpiryWorker(pool: pool, clock: server.clock.clock, logger: .silent)
            let sweeping = Task { try await worker.run() }
            let isEmpty = try await eventually {
                try await pool.query(.interactive, "SELECT count(*) FROM idempotency_key ORDER BY 1 LIMIT 1") {
                    row throws(PostgresError) in try row.next(Int64.self)
                }.first == 0
            }
            #expect(isEmpty)
            sweeping.cancel()
            try await sweeping.value
            await pool.close()
        }
    }

    @Test func anAnswerThatBearsASecretIsStoredSealed() async throws {
        try await TestServer.run { server in
            let made = try await server.operatorClient.post(path, body, headers: ["Idempotency-Key": "sealed"])
            let key = try #require(made.json["key"]?.string)
            let secret = try #require(key.split(separator: "_").last)
            let pool = PostgresPool(PostgresConfiguration(url: server.database.url))
            let rows = try await pool.query(
                .interactive,
                "SELECT body, encrypted FROM idempotency_key ORDER BY created_at LIMIT 10"
            ) { row throws(PostgresError) in (try row.next(PostgresBytes.self).bytes, try row.next(Bool.self)) }
            await pool.close()
            #expect(rows.count == 1)
            #expect(rows.first?.1 == true)
            let stored = rows.first?.0 ?? []
            #expect(!String(decoding: stored, as: UTF8.self).contains(secret))
            #expect(!String(decoding: stored, as: UTF8.self).contains("audit:read"))
        }
    }

    @Test func aSealedAnswerIsNotOpenedForAnotherSecretOfTheSameCredential() async throws {
        try await TestDatabase.with { database in
            let headers = ["Idempotency-Key": "sealed"]
            try await TestServer.run(on: database) { server in
                _ = try await server.operatorClient.post(path, body, headers: headers)
            }
            let other = "tpk_operator_zyxwvutsrqponmlkjihgfedcba9876543210"
            try await TestServer.run(on: database, configure: { $0.operatorKey = try? .init(parsing: other) }) {
                server in
                let answer = try await server.anonymous.with(key: other).post(path, body, headers: headers)
                #expect(answer.status == 409)
                #expect(answer.code == "idempotent_answer_sealed")
            }
        }
    }

    @Test(arguments: ["with space", "ümlaut", String(repeating: "k", count: 256)])
    func aMalformedKeyIsRefused(_ key: String) async throws {
        try await TestServer.run { server in
            let answer = try await server.operatorClient.post(path, body, headers: ["Idempotency-Key": key])
            #expect(answer.status == 400)
            #expect(answer.code == "idempotency_key_invalid")
        }
    }
}
