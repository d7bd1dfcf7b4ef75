import Foundation
import Identity
import TestSupport
import Testing
import TurnpikeServer
import Web

@Suite struct DemoTests {
    @Test func theDemoIsMadeOnceAndKeptAtTheNextStart() async throws {
        try await TestServer.run { server in
            try await withTemporaryDirectory { directory in
                let file = directory.appendingPathComponent("keys")
                try Data("export OPERATOR_KEY=\(TestServer.operatorKey)\n".utf8).write(to: file)
                let first = try await prepare(server, file)
                let usage = try await usage(server)
                let second = try await prepare(server, file)
                #expect(second.gatewayKey?.text == first.gatewayKey?.text)
                #expect(second.portalKey?.text == first.portalKey?.text)
                #expect(try await self.usage(server) == usage)
                #expect(usage.events == ["acme": 36, "globex": 12])
                #expect(usage.unmatched == 1)
            }
        }
    }

    @Test func theKeysOfTheDemoDoWhatTheirNamesSay() async throws {
        try await TestServer.run { server in
            try await withTemporaryDirectory { directory in
                let file = directory.appendingPathComponent("keys")
                try Data("OPERATOR_KEY=\(TestServer.operatorKey)\n".utf8).write(to: file)
                let keys = try await prepare(server, file)
                let portal = server.anonymous.with(key: keys.portalKey?.text)
                #expect(try await portal.get("/api/v1/tenants/acme/quotas").status == 200)
                let invoice = try await portal.get("/api/v1/tenants/acme/upcoming-invoice").expecting(200)
                guard case .array(let lines)? = invoice.json["lines"] else { throw UnexpectedAnswer(answer: invoice) }
                #expect(lines.count == 4)
                #expect(try await portal.get("/api/v1/tenants/globex/quotas").status == 404)
                let gateway = server.anonymous.with(key: keys.gatewayKey?.text)
                #expect(try await gateway.post("/api/v1/events", "[]").status == 200)
                #expect(try await gateway.get("/api/v1/tenants").status == 403)
            }
        }
    }

    @Test func keysThatTheServiceDoesNotKnowAreMadeAnew() async throws {
        try await TestServer.run { server in
            try await withTemporaryDirectory { directory in
                let file = directory.appendingPathComponent("keys")
                let unknown = "tpk_abcd_0123456789abcdef0123456789abcdef"
                try Data("OPERATOR_KEY=\(TestServer.operatorKey)\nGATEWAY_KEY=\(unknown)\n".utf8).write(to: file)
                #expect(DemoKeys(file: file).gatewayKey?.text == unknown)
                let keys = try await prepare(server, file)
                #expect(keys.gatewayKey != nil)
                #expect(keys.gatewayKey?.text != unknown)
            }
        }
    }

    @Test func theKeysFileIsForItsOwnerOnlyAndReadsBackWhatWasWritten() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appendingPathComponent("keys")
            let keys = DemoKeys(file: file)
            try keys.write(to: file, settings: [("BASE_URL", "http://127.0.0.1:1"), ("ODD", "it's")])
            let attributes = try FileManager.default.attributesOfItem(atPath: file.path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            #expect(DemoKeys(file: file).operatorKey.text == keys.operatorKey.text)
            let text = try String(contentsOf: file, encoding: .utf8)
            #expect(text.contains("export BASE_URL='http://127.0.0.1:1'\n"))
            #expect(text.contains(#"export ODD='it'\''s'"#))
        }
    }

    private func prepare(_ server: TestServer, _ file: URL) async throws -> DemoKeys {
        let keys = DemoKeys(file: file)
        let demo = Demo(host: "127.0.0.1", port: server.port, keys: keys, clock: server.clock.clock)
        let prepared = try await demo.prepare(keys)
        try prepared.write(to: file, settings: [])
        return prepared
    }

    private struct StoredUsage: Equatable {
        var events: [String: Int] = [:]
        var unmatched = 0
    }

    private func usage(_ server: TestServer) async throws -> StoredUsage {
        var usage = StoredUsage()
        for tenant in ["acme", "globex"] {
            usage.events[tenant] = try await count("/api/v1/events?limit=500&tenant=\(tenant)", server)
        }
        usage.unmatched = try await count("/api/v1/unmatched-events?limit=500", server)
        return usage
    }

    private func count(_ list: String, _ server: TestServer) async throws -> Int {
        let answer = try await server.operatorClient.get(list).expecting(200)
        guard case .array(let data)? = answer.json["data"] else { throw UnexpectedAnswer(answer: answer) }
        return data.count
    }
}
