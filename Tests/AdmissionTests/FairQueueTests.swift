import BillingCore
import Testing

@testable import Admission

/// In what order calls come to their turn.
@Suite struct FairQueueTests {
    private let many = TenantID(rawValue: 1)
    private let few = TenantID(rawValue: 2)

    /// How many calls of a tenant found room.
    private func add(
        _ calls: some Sequence<String>,
        of tenant: TenantID,
        touching rows: Int = 2,
        to queue: inout FairQueue<String>
    ) -> Int {
        calls.reduce(0) { $0 + (queue.append($1, of: tenant, touching: rows) ? 1 : 0) }
    }

    @Test("who asks for little waits for no more than a turn of who asks for much, and each keeps its order")
    func turns() {
        var queue = FairQueue<String>()
        let asked = (0..<100).map { "many-\($0)" }
        _ = add(asked, of: many, to: &queue)
        _ = add(["few-0", "few-1", "few-2"], of: few, to: &queue)
        let first = queue.take(40, touching: 10_000_000)
        #expect(first.count == 40)
        #expect(first.filter { $0.hasPrefix("few") } == ["few-0", "few-1", "few-2"])
        #expect(first.firstIndex(of: "few-0") == 16)
        _ = add(["few-3"], of: few, to: &queue)
        let rest = queue.take(1_000, touching: 10_000_000)
        #expect((first + rest).filter { $0.hasPrefix("many") } == asked)
        #expect(rest.contains("few-3"))
        let none = queue.take(5, touching: 10_000_000)
        #expect(queue.isEmpty && none == [])
    }

    @Test("one tenant fills its share and no more, and all together what there is room for")
    func share() {
        var queue = FairQueue<String>()
        let share = FairQueue<String>.share
        let calls = (0...share).map { "\($0)" }
        let (own, others) = (add(calls, of: many, to: &queue), add(["0"], of: few, to: &queue))
        #expect(own == share && others == 1)
        let taken = queue.take(16, touching: 10_000_000)
        #expect(taken.count == 16)
        let again = add(calls, of: many, to: &queue)
        #expect(again == 16, "there is room again")
        for tenant in 3..<7 { _ = add(calls, of: TenantID(rawValue: Int64(tenant)), to: &queue) }
        let all = queue.take(1_000_000, touching: 10_000_000)
        #expect(all.count == FairQueue<String>.capacity)
    }

    @Test("calls that touch very many rows are taken a few at a time, and one of any number of rows is")
    func rows() {
        var queue = FairQueue<String>()
        _ = add((0..<10).map { "many-\($0)" }, of: many, touching: 100, to: &queue)
        _ = add(["few-0", "few-1"], of: few, touching: 1, to: &queue)
        let first = queue.take(256, touching: 500)
        #expect(first == ["many-0", "many-1", "few-0", "few-1", "many-2", "many-3", "many-4"])
        let next = queue.take(256, touching: 50)
        #expect(next == ["many-5"])
        let rest = queue.take(256, touching: 100_000)
        #expect(rest == (6..<10).map { "many-\($0)" })
        #expect(queue.isEmpty)
    }
}
