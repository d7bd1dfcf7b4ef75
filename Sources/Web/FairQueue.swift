public import DequeModule

/// What somebody takes of something that has two bounds: how many, and how large all of them are.
@usableFromInline
package struct QueueLoad: Sendable {
    @usableFromInline package var count: Int
    @usableFromInline package var size: Int

    @inlinable
    package init(count: Int = 0, size: Int = 0) {
        self.count = count
        self.size = size
    }

    @inlinable
    package func fits(_ room: QueueLoad) -> Bool { count <= room.count && size <= room.size }

    @inlinable
    package static func + (one: QueueLoad, other: QueueLoad) -> QueueLoad {
        QueueLoad(count: one.count + other.count, size: one.size + other.size)
    }

    @inlinable
    package static func - (one: QueueLoad, other: QueueLoad) -> QueueLoad {
        QueueLoad(count: one.count - other.count, size: one.size - other.size)
    }

    /// A part of it, but never nothing.
    @inlinable
    package func divided(by parts: Int) -> QueueLoad {
        QueueLoad(count: max(1, count / parts), size: max(1, size / parts))
    }
}

/// What waits for its turn: that of one side, such as a tenant, in the order in which it came, and the sides in turn,
/// so that one that asks for very much keeps the others neither waiting nor out.
@usableFromInline
package struct FairQueue<Side: Hashable, Item> {
    @usableFromInline
    struct Entry {
        @usableFromInline let item: Item
        @usableFromInline let load: QueueLoad

        @inlinable
        init(item: Item, load: QueueLoad) {
            self.item = item
            self.load = load
        }
    }

    /// What waits of one side.
    @usableFromInline
    struct Line {
        @usableFromInline var entries: Deque<Entry> = []
        @usableFromInline var load = QueueLoad()
        /// How often others go first, because what was taken last was more than one turn.
        @usableFromInline var owedTurns = 0

        @inlinable
        init() {}

        @inlinable
        mutating func append(_ entry: Entry) {
            entries.append(entry)
            load = load + entry.load
        }
    }

    @usableFromInline let room: QueueLoad
    @usableFromInline let share: QueueLoad
    @usableFromInline let turn: QueueLoad
    @usableFromInline var lines: [Side: Line] = [:]
    /// Those who wait, each once.
    @usableFromInline var turns: Deque<Side> = []
    @usableFromInline var waiting = (count: 0, load: QueueLoad())

    /// - Parameters:
    ///   - room: what waits at most; one side has a quarter of it, and half of it while nobody else waits.
    ///   - turn: what is taken of a side before the next one's, unless it is one item.
    @inlinable
    package init(room: QueueLoad, turn: QueueLoad) {
        self.room = room
        self.turn = turn
        share = room.divided(by: 4)
    }

    /// How many items wait.
    @inlinable
    package var count: Int { waiting.count }

    /// What all that waits takes.
    @inlinable
    package var load: QueueLoad { waiting.load }

    @inlinable
    package var isEmpty: Bool { count == 0 }

    /// An empty queue takes any item, and a side that has nothing in it any for which there is room.
    /// - Parameter isBounded: whether the side has to keep to its part of the room.
    /// - Returns: false where there is no room for it.
    @inlinable
    package mutating func append(_ item: Item, of side: Side, taking load: QueueLoad, isBounded: Bool = true) -> Bool {
        guard isEmpty || (waiting.load + load).fits(room) else { return false }
        if let own = lines[side]?.load {
            guard !isBounded || (own + load).fits(lines.count == 1 ? room.divided(by: 2) : share) else { return false }
        } else {
            turns.append(side)
        }
        lines[side, default: Line()].append(Entry(item: item, load: load))
        waiting = (count + 1, waiting.load + load)
        return true
    }

    /// Takes what fits a limit, or one item that is larger. What does not fit any more is the first of the next time.
    @inlinable
    package mutating func take(_ limit: QueueLoad) -> [Item] {
        var taken: [Item] = []
        taken.reserveCapacity(min(limit.count, count))
        var all = QueueLoad()
        var isFull = false
        while !isFull, let side = nextSide(), var line = lines.removeValue(forKey: side) {
            var own = QueueLoad()
            while let next = line.entries.first, own.count == 0 || (own + next.load).fits(turn) {
                isFull = !taken.isEmpty && !(all + next.load).fits(limit)
                guard !isFull else { break }
                taken.append(next.item)
                line.entries.removeFirst()
                own = own + next.load
                all = all + next.load
            }
            guard !line.entries.isEmpty else { continue }
            if own.count == 0 {
                turns.prepend(side)
            } else {
                line.load = line.load - own
                line.owedTurns = max((own.count - 1) / turn.count, (own.size - 1) / turn.size)
                turns.append(side)
            }
            lines[side] = line
        }
        waiting = (count - taken.count, load - all)
        return taken
    }

    /// Who has had more than a turn lets the others, while there are any, go first for that.
    @inlinable
    mutating func nextSide() -> Side? {
        while turns.count > 1, let side = turns.first, let owed = lines[side]?.owedTurns, owed > 0 {
            lines[side]?.owedTurns = owed - 1
            turns.append(turns.removeFirst())
        }
        return turns.popFirst()
    }
}
