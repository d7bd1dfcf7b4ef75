import HTTPTypes
import NIOCore
import Synchronization
import TestSupport
import Testing
import Web

/// How many requests of one tenant are under way at a time.
@Suite(.timeLimit(.minutes(5))) struct TenantPlacesTests {
    private struct Failure: Error {}

    @Test("a tenant's requests take a quarter of the places, beside which others, and brief ones, are answered")
    func quarter() async throws {
        let gate = Gate()
        let arrived = Mutex(0)
        try await WebHarness.run(places: 8) { operations in
            operations.get("/slow", "slow", scope: .tenantsRead) { _, _ in
                arrived.withLock { $0 += 1 }
                await gate.wait()
                return .text("slow")
            }
            operations.get("/quick", "quick", scope: .tenantsRead) { _, _ in .text("quick") }
            operations.get("/fails", "fails", scope: .tenantsRead) { _, _ in throw Failure() }
            operations.post("/brief", "brief", scope: .tenantsRead, isBrief: true) { _, _ in .text("brief") }
            operations.add(.get, fullPath: "/open", id: "open", access: .open) { _, _ in .text("open") }
        } _: { harness in
            let (many, few) = (harness.client(ofTenant: 1), harness.client(ofTenant: 2))
            for _ in 1...3 { #expect(try await many.get("/api/v1/fails").status == 500) }
            async let first = many.get("/api/v1/slow")
            async let second = many.get("/api/v1/slow")
            #expect(try await eventually { arrived.withLock { $0 } == 2 })
            let refused = try await many.get("/api/v1/quick")
            #expect(refused.status == 503 && refused.code == "database_unavailable")
            #expect(refused.header("Retry-After") == "1")
            #expect(refused.text.contains("2 requests of this tenant are under way"))
            #expect(try await many.get("/open").text == "open")
            for _ in 1...3 {
                #expect(try await many.post("/api/v1/brief", "{}").text == "brief")
                #expect(try await few.get("/api/v1/quick").text == "quick")
                #expect(try await harness.client.get("/api/v1/quick").text == "quick")
            }
            gate.open()
            #expect(try await [first.text, second.text] == ["slow", "slow"])
            #expect(try await many.get("/api/v1/quick").text == "quick", "there is room again")
        }
    }

    @Test("operators have as many places as there are")
    func operators() async throws {
        let gate = Gate()
        let arrived = Mutex(0)
        try await WebHarness.run(places: 4) { operations in
            operations.get("/slow", "slow", scope: .tenantsRead) { _, _ in
                arrived.withLock { $0 += 1 }
                await gate.wait()
                return .text("slow")
            }
        } _: { harness in
            try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 1...5 { group.addTask { try await harness.client.get("/api/v1/slow").text } }
                #expect(try await eventually { arrived.withLock { $0 } == 5 })
                gate.open()
                for try await text in group { #expect(text == "slow") }
            }
        }
    }

    @Test("an answer that is made while it is sent takes no place meanwhile")
    func streams() async throws {
        let (gate, begun) = (Gate(), Gate())
        try await WebHarness.run(places: 4) { operations in
            operations.get("/export", "export", scope: .tenantsRead) { _, _ in
                .streaming(
                    contentType: "text/plain",
                    AnswerStream { send in
                        try await send(ByteBuffer(string: "one, "))
                        begun.open()
                        await gate.wait()
                        try await send(ByteBuffer(string: "two"))
                    }
                )
            }
            operations.get("/quick", "quick", scope: .tenantsRead) { _, _ in .text("quick") }
        } _: { harness in
            let client = harness.client(ofTenant: 1)
            async let export = client.get("/api/v1/export")
            await begun.wait()
            let meanwhile = try await client.get("/api/v1/quick")
            #expect(meanwhile.status == 200)
            gate.open()
            let text = try await export.text
            #expect(text == "one, two")
        }
    }
}
