import Testing
import Web

/// In what order items come to their turn.
@Suite struct FairQueueTests {
    private typealias Queue = FairQueue<Int, String>

    private let many = 1
    private let few = 2
    private let everything = QueueLoad(count: .max, size: .max)

    private func queue(
        room: QueueLoad = QueueLoad(count: 10_000, size: .max),
        turn: QueueLoad = QueueLoad(count: 16, size: 256)
    ) -> Queue {
        Queue(room: room, turn: turn)
    }

    /// How many items of a side found room.
    private func add(
        _ items: some Sequence<String>,
        of side: Int,
        _ count: Int = 1,
        size: Int = 2,
        isBounded: Bool = true,
        to queue: inout Queue
    ) -> Int {
        items.reduce(0) { added, item in
            let load = QueueLoad(count: count, size: size)
            return added + (queue.append(item, of: side, taking: load, isBounded: isBounded) ? 1 : 0)
        }
    }

    @Test("who asks for little waits for no more than a turn of who asks for much, and each keeps its order")
    func turns() {
        var queue = queue()
        let asked = (0..<100).map { "many-\($0)" }
        _ = add(asked, of: many, to: &queue)
        _ = add(["few-0", "few-1", "few-2"], of: few, to: &queue)
        let first = queue.take(QueueLoad(count: 40, size: .max))
        #expect(first.count == 40)
        #expect(first.filter { $0.hasPrefix("few") } == ["few-0", "few-1", "few-2"])
        #expect(first.firstIndex(of: "few-0") == 16)
        _ = add(["few-3"], of: few, to: &queue)
        let rest = queue.take(everything)
        #expect((first + rest).filter { $0.hasPrefix("many") } == asked)
        #expect(rest.contains("few-3"))
        let none = queue.take(everything)
        #expect(queue.isEmpty && none == [])
    }

    @Test("one side fills half of the room alone, a quarter beside others, and all together what there is")
    func share() {
        var queue = queue()
        let items = (0...5_000).map { "\($0)" }
        let (own, others) = (add(items, of: many, to: &queue), add(items, of: few, to: &queue))
        #expect(own == 5_000 && others == 2_500)
        let taken = queue.take(QueueLoad(count: 16, size: .max))
        #expect(taken.count == 16)
        let again = add(items, of: many, to: &queue)
        #expect(again == 0, "it has more than its quarter still")
        for side in 3..<7 { _ = add(items, of: side, to: &queue) }
        let all = queue.take(everything)
        #expect(all.count == 10_000)
    }

    @Test("a quarter is one of both bounds, which the first item of a side need not keep to, nor a side without bound")
    func bounds() {
        var queue = queue(room: QueueLoad(count: 100, size: 1_000))
        let large = add(["0", "1"], of: 1, 30, to: &queue)
        let wide = add(["0", "1"], of: 2, size: 200, to: &queue)
        let free = add((0..<50).map { "\($0)" }, of: 3, isBounded: false, to: &queue)
        #expect([large, wide, free] == [1, 1, 50])
        let tooLarge = add(["0"], of: 4, 20, to: &queue)
        let last = add((0..<50).map { "\($0)" }, of: 3, isBounded: false, to: &queue)
        #expect([tooLarge, last] == [0, 19], "nobody has more than there is room for")
        _ = queue.take(everything)
        let larger = add(["0", "1"], of: 1, 101, to: &queue)
        #expect(larger == 1, "an empty queue takes what is larger than it")
    }

    @Test("large items are taken a few at a time, those beyond a limit the next time, and any one by itself")
    func sizes() {
        var queue = queue()
        _ = add((0..<10).map { "many-\($0)" }, of: many, size: 100, to: &queue)
        _ = add(["few-0", "few-1"], of: few, size: 1, to: &queue)
        let first = queue.take(QueueLoad(count: 256, size: 500))
        #expect(first == ["many-0", "many-1", "few-0", "few-1", "many-2", "many-3"])
        let next = queue.take(QueueLoad(count: 256, size: 50))
        #expect(next == ["many-4"])
        let rest = queue.take(everything)
        #expect(rest == (5..<10).map { "many-\($0)" })
        #expect(queue.isEmpty)
    }

    @Test("who has had more than a turn with one item lets others go first for it, while there are any")
    func owed() {
        var queue = queue(turn: QueueLoad(count: 10, size: .max))
        let flush = QueueLoad(count: 20, size: .max)
        _ = add(["many-0", "many-1", "many-2"], of: many, 40, to: &queue)
        let first = queue.take(flush)
        #expect(first == ["many-0"])
        let little = (0..<35).map { "few-\($0)" }
        _ = add(little, of: few, to: &queue)
        let (second, third) = (queue.take(flush), queue.take(flush))
        #expect(second == Array(little[..<20]))
        #expect(third == Array(little[20..<30]), "three turns were owed, and the item does not fit beside them")
        let (fourth, fifth) = (queue.take(flush), queue.take(flush))
        #expect(fourth == ["many-1"])
        #expect(fifth == Array(little[30...]))
        let last = queue.take(flush)
        #expect(last == ["many-2"], "nobody else waits")
    }
}
