import BillingCore
import Postgres
import Synchronization
import TestSupport
import Testing
import Web

/// Six senders on two replicas, with duplicates, voids and a subscription that comes late: afterwards every cell equals
/// a naive model in whole numbers, and `verify` is clean.
@Suite(.timeLimit(.minutes(15))) struct RandomisedMatrixTests {
    private static let keys = 240

    private struct Call: Sendable {
        let id: String
        let model: String?
        let input: Int64
        let output: Int64

        init(_ key: Int) {
            var random = SeededGenerator(seed: UInt64(7_000 + key))
            id = "k\(key)"
            model = ["gpt-4o", "o3", "o4-mini", nil][Int.random(in: 0..<4, using: &random)]
            input = Int64.random(in: 0...3, using: &random) * Int64.random(in: 0...40, using: &random)
            output = Int64.random(in: 0...30, using: &random)
        }

        var sent: SentEvent {
            let name = model.map { #""model":"\#($0)","# } ?? ""
            let day = 2 + (Int(id.dropFirst()) ?? 0) % 20
            let time = "2026-11-\(day < 10 ? "0" : "")\(day)T08:00:00Z"
            let data = #"{\#(name)"input_tokens":\#(input),"output_tokens":\#(output)}"#
            return SentEvent(id, type: "llm", time: time, data: data)
        }
    }

    private static let price = """
        {"model":"matrix","dimensions":["model","token_class"],"cells":[
          {"match":{"model":"gpt-4o","token_class":"output"},"price":{"model":"per_unit","unit_amount":"0.011"}},
          {"match":{"model":"gpt-4o","token_class":"input"},"price":{"model":"graduated","tiers":[
             {"up_to":"500","unit_amount":"0"},{"up_to":null,"unit_amount":"0.002","flat_amount":"1"}]}},
          {"match":{"model":"","token_class":"output"},"price":{"model":"percentage","percent":"3",
             "fixed_amount":"0.05","minimum":"2"}}],
         "default":{"model":"volume","tiers":[
             {"up_to":"400","unit_amount":"0.003"},{"up_to":null,"unit_amount":"0.001","flat_amount":"0.25"}]}}
        """

    /// The charge of a cell in thousandths of the currency's unit.
    private static func charge(_ model: String, _ tokenClass: String, quantity: Int64, events: Int64) -> Int64 {
        switch (model, tokenClass) {
        case ("gpt-4o", "output"): quantity * 11
        case ("gpt-4o", "input"): quantity > 500 ? (quantity - 500) * 2 + 1_000 : 0
        case ("", "output"): max(quantity * 30 + events * 50, 2_000)
        default: quantity > 400 ? quantity + 250 : quantity * 3
        }
    }

    private static func expected(_ calls: [Call]) -> Set<String> {
        var cells: [[String]: (quantity: Int64, events: Int64)] = [:]
        for call in calls {
            for (name, tokens) in [("input", call.input), ("output", call.output)] where tokens > 0 {
                cells[[call.model ?? "", name], default: (0, 0)].quantity += tokens
                cells[[call.model ?? "", name], default: (0, 0)].events += 1
            }
        }
        var sum: Int64 = 0
        var rows: Set<String> = []
        for (key, cell) in cells {
            let thousandths = charge(key[0], key[1], quantity: cell.quantity, events: cell.events)
            sum += thousandths
            let name = #"{"model":"\#(key[0])","token_class":"\#(key[1])"}"#
            rows.insert("\(name) \(cell.quantity) of \(cell.events) = \(UsageModel.decimal(thousandths, digits: 3))")
        }
        let quantity = calls.reduce(0) { $0 + $1.input + $1.output }
        rows.insert(" \(quantity) of \(calls.count) = \(UsageModel.decimal(sum, digits: 3))")
        return rows
    }

    private static func arrange(_ server: TestServer) async throws {
        for tenant in ["acme", "beta"] { try await server.addTenant(tenant) }
        let meter = """
            {"key":"tokens","event_type":"llm","aggregation":"sum","class_dimension":"token_class",
             "value":{"input":"input_tokens","output":"output_tokens"},"dimensions":{"model":"model"}}
            """
        try await server.ask("POST", "/meters", meter, expecting: 201)
        try await server.ask("POST", "/features", #"{"key":"tokens","meter":"tokens"}"#, expecting: 201)
        try await server.publish(#"{"charges":[{"feature":"tokens","price":\#(price)}]}"#)
        try await server.subscribe("acme", at: "2026-11-01T00:00:00Z")
    }

    /// What the senders were told, by tenant.
    private final class Told: Sendable {
        struct State {
            var accepted: [String: Set<Int>] = [:]
            var voided: [String: Set<Int>] = [:]
        }

        let state = Mutex(State())
    }

    private static func run(_ sender: Int, on server: TestServer, _ told: Told) async throws {
        let tenant = sender % 3 == 2 ? "beta" : "acme"
        var random = SeededGenerator(seed: UInt64(400 + sender))
        for _ in 0..<15 {
            let picked = (0..<Int.random(in: 1...10, using: &random)).map { _ in
                Int.random(in: 0..<keys, using: &random)
            }
            let batch = picked.map { key in
                var event = Call(key).sent
                event.subject = tenant
                return event
            }
            try await server.post(batch).expecting(200)
            told.state.withLock { $0.accepted[tenant, default: []].formUnion(picked) }
            if let key = picked.randomElement(using: &random), key % 3 == 0 {
                _ = try await server.void("k\(key)", tenant: tenant)
                told.state.withLock { _ = $0.voided[tenant, default: []].insert(key) }
            }
        }
    }

    @Test func everyCellIsWhatTheModelSays() async throws {
        try await TestServer.run { first in
            try await TestServer.run(on: first.database, clock: first.clock) { second in
                try await Self.arrange(first)
                let told = Told()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for sender in 0..<6 {
                        group.addTask { try await Self.run(sender, on: sender % 2 == 0 ? first : second, told) }
                    }
                    group.addTask { try await second.subscribe("beta", at: "2026-11-01T00:00:00Z") }
                    try await group.waitForAll()
                }
                let state = told.state.withLock { $0 }
                for tenant in ["acme", "beta"] {
                    let voided = state.voided[tenant] ?? []
                    let counted = (state.accepted[tenant] ?? []).subtracting(voided)
                    #expect(counted.count > 60)
                    #expect(voided.count > 5)
                    #expect(try await Self.stored(tenant, first) == Self.expected(counted.map(Call.init)))
                }
                #expect(try await first.differences() == [])
            }
        }
    }

    private static func stored(_ tenant: String, _ server: TestServer) async throws -> Set<String> {
        let rows = try await server.column(
            """
            SELECT cell || ' ' || trim_scale(quantity) || ' of ' || event_count || ' = ' || trim_scale(charge)
            FROM usage_counter
            JOIN tenant USING (tenant_id)
            WHERE tenant.key = \(tenant) AND event_count > 0
            """
        )
        return Set(rows.compactMap { $0 })
    }
}
