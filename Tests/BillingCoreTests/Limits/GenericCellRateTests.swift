import BillingCore
import TestSupport
import Testing

@Suite struct GenericCellRateTests {
    private static let minute: Int64 = 60_000_000
    private static let start = Instant(microseconds: 1_700_000_000_000_000)

    /// Uses units one by one at the times given (in microseconds), and says which passed.
    private static func run(_ rate: GenericCellRate, at times: [Int64], share: Percent = .hundred) throws -> [Bool] {
        var arrival: FixedDecimal?
        return try times.map { time in
            let now = start.adding(microseconds: time)
            guard case .allowed(let next, _) = try rate.decide(.one, arrival: arrival, at: now, share: share) else {
                return false
            }
            arrival = next
            return true
        }
    }

    @Test("after a rest the burst passes at once, then one for each interval")
    func burst() throws {
        let rate = GenericCellRate(limit: 60, periodMicroseconds: Self.minute, burst: 3)
        #expect(
            try Self.run(rate, at: [0, 0, 0, 0, 999_999, 1_000_000, 1_000_001]) == [
                true, true, true, false, false, true, false,
            ]
        )
    }

    @Test("the whole burst passes at once, one by one, at paces that divide no period evenly, and what is left is told")
    func unevenBurst() throws {
        for limit: Int64 in [3, 7, 30, 700, 999] {
            let rate = GenericCellRate(limit: limit, periodMicroseconds: Self.minute, burst: 20)
            var arrival: FixedDecimal?
            var left: [Int64] = []
            for _ in 1...21 {
                switch try rate.decide(.one, arrival: arrival, at: Self.start, share: .hundred) {
                case .allowed(let next, let remaining):
                    arrival = next
                    left.append(remaining)
                case .refused(_, let remaining):
                    left.append(-1 - remaining)
                }
            }
            #expect(left == Array((0...19).reversed()) + [-1], "\(limit)")
        }
    }

    @Test("callers of a smaller share are refused before the others")
    func share() throws {
        let rate = GenericCellRate(limit: 60, periodMicroseconds: Self.minute, burst: 10)
        let eighty = try #require(Percent(FixedDecimal(80)))
        #expect(try Self.run(rate, at: Array(repeating: 0, count: 10), share: eighty).count { $0 } == 8)
    }

    @Test("whatever its share, a caller may use one unit after a rest")
    func smallBurst() throws {
        let rate = GenericCellRate(limit: 1, periodMicroseconds: Self.minute, burst: 1)
        let eighty = try #require(Percent(FixedDecimal(80)))
        #expect(try Self.run(rate, at: [0, 1, Self.minute], share: eighty) == [true, false, true])
    }

    @Test("a refusal says when it would be allowed, and never is for more than the burst")
    func retryAfter() throws {
        let rate = GenericCellRate(limit: 60, periodMicroseconds: Self.minute, burst: 2)
        let full = FixedDecimal(Self.start.microseconds + 2_000_000)
        guard
            case .refused(let after, let remaining) = try rate.decide(
                .one,
                arrival: full,
                at: Self.start,
                share: .hundred
            )
        else {
            Issue.record("it was allowed")
            return
        }
        #expect(after == 1_000_000)
        #expect(remaining == 0)
        let slow = GenericCellRate(limit: 1, periodMicroseconds: 1_440 * Self.minute, burst: 1)
        for (rate, units) in [(rate, FixedDecimal(3)), (slow, FixedDecimal(2_000_000_000_000_000)), (slow, .greatest)] {
            let decision = try rate.decide(units, arrival: nil, at: Self.start, share: .hundred)
            #expect(decision == .refused(retryAfterMicroseconds: nil, remaining: rate.burst))
        }
    }

    @Test("over any length of time no more than burst and pace together pass, for rates that divide no period evenly")
    func neverMore() throws {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<200 {
            let rate = GenericCellRate(
                limit: Int64.random(in: 1...1_000, using: &generator),
                periodMicroseconds: Self.minute,
                burst: Int64.random(in: 1...50, using: &generator)
            )
            var time: Int64 = 0
            let times = (0..<500).map { _ in
                time += Int64.random(in: 0...200_000, using: &generator)
                return time
            }
            let passed = Int64(try Self.run(rate, at: times).count { $0 })
            #expect(passed <= rate.burst + time * rate.limit / Self.minute)
            #expect(passed >= min(Int64(times.count), rate.burst))
        }
    }
    @Test("what is left passes at once and one more does not, and when it says that it is full again it is")
    func standing() throws {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<2_000 {
            let rate = GenericCellRate(
                limit: Int64.random(in: 1...1_000, using: &generator),
                periodMicroseconds: Self.minute,
                burst: Int64.random(in: 1...50, using: &generator)
            )
            let ahead = FixedDecimal(Int64.random(in: -5_000_000...90_000_000, using: &generator))
            let arrival = try FixedDecimal(Self.start.microseconds).adding(ahead)
            let (remaining, fullAt) = try rate.standing(arrival: arrival, at: Self.start)
            func passes(_ units: Int64, at now: Instant) throws -> Bool {
                let units = FixedDecimal(units)
                if case .allowed = try rate.decide(units, arrival: arrival, at: now, share: .hundred) { return true }
                return false
            }
            if remaining > 0 { #expect(try passes(remaining, at: Self.start)) }
            #expect(try !passes(remaining + 1, at: Self.start))
            #expect((fullAt == nil) == (ahead <= .zero))
            guard let fullAt else { continue }
            #expect(try passes(rate.burst, at: fullAt))
            #expect(try !passes(rate.burst, at: fullAt.adding(microseconds: -1)))
        }
        let rate = GenericCellRate(limit: 60, periodMicroseconds: Self.minute, burst: 3)
        #expect(try rate.standing(arrival: nil, at: Self.start) == (3, nil))
    }
}
