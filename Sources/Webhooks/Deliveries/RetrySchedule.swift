import BillingCore

/// When a delivery that failed is tried again: soon at first, then ever more rarely, for about 24 hours in all.
enum RetrySchedule {
    static let delaysSeconds: [Int64] = [
        5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 14_400, 14_400, 14_400, 14_400,
    ]
    /// How far a delay may lie from its place, so that what failed together does not come back together.
    static let jitterPercent: ClosedRange<Int64> = -20...20

    /// How many attempts at a name of which the resolver has no answer are put off, for about a day. Later ones have
    /// failed: a name whose own servers are broken looks the same.
    static let resolverAttempts: Int32 = 50

    /// The time at which what could not be tried here is looked at again: ever later, at last once an hour.
    static func afterLocalFailure(attempt: Int32, at now: Instant) -> Instant {
        now.adding(seconds: 60 * min(60, Int64(attempt)))
    }

    /// The time of the next attempt; nil when it was the last one.
    /// - Parameter failures: how many attempts have failed.
    static func next(afterFailures failures: Int32, at now: Instant, jitterPercent: Int64) -> Instant? {
        let index = Int(failures) - 1
        guard delaysSeconds.indices.contains(index) else { return nil }
        return now.adding(microseconds: delaysSeconds[index] * (100 + jitterPercent) * 10_000)
    }
}
