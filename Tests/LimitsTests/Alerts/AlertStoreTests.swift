import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Limits

/// Alerts are raised once, with what they tell.
@Suite struct AlertStoreTests {
    private static func draft(_ identity: String..., of tenant: Int64 = 7, operatorOnly: Bool = false) -> AlertDraft {
        var draft = AlertDraft(
            .thresholdCrossed,
            of: TenantID(tenant),
            key: "tenant-\(tenant)",
            identity: identity,
            detail: .members(["budget": .string("month")])
        )
        draft.isOperatorOnly = operatorOnly
        draft.limit = LimitID(3)
        draft.scopeValue = "u9"
        draft.threshold = FixedDecimal(80)
        return draft
    }

    private static func raise(_ drafts: [AlertDraft], _ server: TestServer, _ pool: PostgresPool) async throws {
        let clock = server.clock.clock
        try await pool.transaction(.worker) { transaction in
            try AlertStore.raise(drafts, at: clock.now(), ids: .random(clock), in: transaction)
        }
    }

    @Test("what was raised is not raised again, by one transaction or by many at once")
    func raisedOnce() async throws {
        try await TestServer.run { server in
            try await server.withPool { pool in
                try await Self.raise([Self.draft("a", "b"), Self.draft("a", "b"), Self.draft("ab")], server, pool)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<8 {
                        group.addTask {
                            let drafts = [Self.draft("a", "b"), Self.draft("new"), Self.draft("old")]
                            try await Self.raise(index.isMultiple(of: 2) ? drafts : drafts.reversed(), server, pool)
                        }
                    }
                    try await group.waitForAll()
                }
                try await Self.raise([Self.draft("a", "b", of: 8)], server, pool)
            }
            let kept = try await server.column("SELECT tenant_id || ' ' || tenant_key FROM alert ORDER BY 1")
            #expect(kept == ["7 tenant-7", "7 tenant-7", "7 tenant-7", "7 tenant-7", "8 tenant-8"])
            let told = try await server.column(
                """
                SELECT event_type || ' ' || count(*) || ' ' || (array_agg(data->>'scope_value'))[1]
                FROM webhook_event JOIN alert USING (tenant_id) WHERE alert_id = event_id GROUP BY event_type
                """
            )
            #expect(told == ["budget.threshold_crossed 5 u9"], "each is told once, with what it says")
            let counted = try await server.anonymous.get("/metrics").text
            #expect(counted.contains(#"turnpike_alerts_raised_total{kind="threshold_crossed"}"#))
        }
    }

    @Test("an alert that its transaction takes back was never raised")
    func raisedInTheTransaction() async throws {
        struct Refused: Error {}
        try await TestServer.run { server in
            try await server.withPool { pool in
                let clock = server.clock.clock
                await #expect(throws: (any Error).self) {
                    try await pool.transaction(.worker) { transaction in
                        let drafts = [Self.draft("a")]
                        try AlertStore.raise(drafts, at: clock.now(), ids: .random(clock), in: transaction)
                        // What is enqueued is sent, so that there is something to take back.
                        try transaction.execute("SELECT 1")
                        throw Refused()
                    }
                }
                #expect(try await server.column("SELECT alert_key FROM alert") == [])
                #expect(try await server.column("SELECT event_type FROM webhook_event") == [])
                try await Self.raise([Self.draft("a")], server, pool)
            }
            #expect(try await server.column("SELECT kind FROM alert") == ["threshold_crossed"])
        }
    }

    @Test("what is for operators only is kept under tenant 0, once for each tenant it is about")
    func operatorOnly() async throws {
        try await TestServer.run { server in
            try await server.withPool { pool in
                let drafts = [7, 8, 7].map { Self.draft("cost", of: $0, operatorOnly: true) }
                try await Self.raise(drafts, server, pool)
            }
            #expect(
                try await server.column("SELECT tenant_id || ' ' || about_tenant_id FROM alert ORDER BY 1")
                    == ["0 7", "0 8"]
            )
        }
    }
}
