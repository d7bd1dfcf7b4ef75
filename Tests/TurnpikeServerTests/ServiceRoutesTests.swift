import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@Suite struct ServiceRoutesTests {
    @Test func probesAndDocumentsNeedNoCredential() async throws {
        try await TestServer.run { server in
            for path in ["/healthz", "/readyz", "/metrics", "/openapi.yaml", "/docs"] {
                let answer = try await server.anonymous.get(path)
                #expect(answer.status == 200, "\(path)")
            }
            let contract = try await server.anonymous.get("/openapi.yaml")
            #expect(contract.text.hasPrefix("openapi: 3.1"))
            let docs = try await server.anonymous.get("/docs")
            #expect(docs.header("Content-Type") == "text/html; charset=utf-8")
            for operation in server.operations where operation.path.hasPrefix("/api/") {
                #expect(docs.text.contains(operation.path))
            }
            #expect(!docs.text.contains("http://") && !docs.text.contains("https://"))
        }
    }

    @Test func everyWorkerTellsWhenItLastSucceeded() async throws {
        try await TestServer.run { server in
            for worker in ["partitions", "limits_in_force", "idempotency_expiry"] {
                let isTold = try await eventually {
                    let metrics = try await server.anonymous.get("/metrics")
                    return metrics.text.contains("turnpike_worker_last_success_seconds{worker=\"\(worker)\"} ")
                }
                #expect(isTold, "\(worker)")
            }
        }
    }

    @Test func aDatabaseWithAMissingMigrationIsNotReady() async throws {
        try await TestServer.run { server in
            try await server.database.run("DELETE FROM schema_migration WHERE name = '0007_storage'")
            let answer = try await server.anonymous.get("/readyz")
            #expect(answer.status == 503)
            #expect(answer.code == "not_ready")
            let alive = try await server.anonymous.get("/healthz")
            #expect(alive.status == 200)
        }
    }

    @Test func aDatabaseThatTakesNoWritesIsNotReady() async throws {
        try await TestServer.run { server in
            let before = try await server.anonymous.get("/readyz")
            #expect(before.status == 200)
            let name = server.database.name
            try await server.database.run("ALTER DATABASE \(name) SET default_transaction_read_only = on")
            // The setting is one of new sessions.
            try await server.database.run(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE '%probe'
                """
            )
            let isNoticed = try await eventually {
                let answer = try await server.anonymous.get("/readyz")
                return answer.status == 503 && answer.code == "not_ready" && answer.text.contains("takes no writes")
            }
            #expect(isNoticed)
            try await server.database.run(
                "BEGIN READ WRITE; ALTER DATABASE \(name) RESET default_transaction_read_only; COMMIT"
            )
            let isOver = try await eventually { try await server.anonymous.get("/readyz").status == 200 }
            #expect(isOver, "the session that took no writes is not asked for ever")
        }
    }

    @Test func slowReadsKeepNoReplicaFromBeingReady() async throws {
        try await TestServer.run(configure: { $0.interactiveConnections = 1 }) { server in
            try await server.whileLocked("plan") {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { _ = try await server.operatorClient.get("/api/v1/plans") }
                    let isSlow = try await server.comesToWait(on: "plan")
                    #expect(isSlow)
                    let answer = try await server.anonymous.get("/readyz")
                    #expect(answer.status == 200, "\(answer)")
                    group.cancelAll()
                }
            }
        }
    }

    @Test func aDatabaseThatIsGoneIsNotReady() async throws {
        try await TestDatabase.with { database in
            try await TestServer.run(on: database) { server in
                try await database.drop()
                let answer = try await server.anonymous.get("/readyz")
                #expect(answer.status == 503)
                #expect(answer.code == "database_unavailable")
                #expect(answer.header("Retry-After") == "1")
            }
        }
    }
}
