import BillingCore
import Testing

@Suite struct TokenClassesTests {
    @Test func `the classes are disjoint and add up to the totals`() throws {
        let classes = try TokenClasses(input: 1_200, cachedInput: 1_000, cacheWrite: 50, output: 300, reasoning: 120)
        #expect(classes.uncachedInput == 150)
        #expect(classes.cachedInput == 1_000)
        #expect(classes.cacheWrite == 50)
        #expect(classes.plainOutput == 180)
        #expect(classes.reasoning == 120)
        #expect(classes.input == 1_200 && classes.output == 300)
    }

    @Test func `subsets may fill their totals`() throws {
        let classes = try TokenClasses(input: .max, cachedInput: 1, cacheWrite: .max - 1, output: 7, reasoning: 7)
        #expect(classes.uncachedInput == 0 && classes.plainOutput == 0 && classes.input == .max)
    }

    @Test(
        arguments: [
            ([-1, 0, 0, 0, 0], TokenClassFault(field: .input, reason: .negative)),
            ([1, -1, 0, 0, 0], TokenClassFault(field: .cachedInput, reason: .negative)),
            ([1, 0, -1, 0, 0], TokenClassFault(field: .cacheWrite, reason: .negative)),
            ([1, 0, 0, -1, 0], TokenClassFault(field: .output, reason: .negative)),
            ([1, 0, 0, 1, .min], TokenClassFault(field: .reasoning, reason: .negative)),
            ([10, 11, 0, 0, 0], TokenClassFault(field: .cachedInput, reason: .exceedsTotal)),
            ([10, 6, 5, 0, 0], TokenClassFault(field: .cacheWrite, reason: .exceedsTotal)),
            ([10, 5, .max, 0, 0], TokenClassFault(field: .cacheWrite, reason: .exceedsTotal)),
            ([10, 0, 0, 3, 4], TokenClassFault(field: .reasoning, reason: .exceedsTotal)),
        ] as [([Int64], TokenClassFault)]
    )
    func `a contradiction names its field`(counts: [Int64], fault: TokenClassFault) {
        #expect(throws: fault) {
            try TokenClasses(
                input: counts[0],
                cachedInput: counts[1],
                cacheWrite: counts[2],
                output: counts[3],
                reasoning: counts[4]
            )
        }
    }
}
