import Testing
import Web

/// How long what is to be answered in any case takes at most.
@Suite struct AnswerDeadlineTests {
    private let deadline = AnswerDeadline(milliseconds: 200)

    @Test("who asks is waited for an eighth of the time for the work, beside it")
    func parts() {
        #expect(deadline.work == .milliseconds(200))
        #expect(deadline.authentication == .milliseconds(25))
        #expect(deadline.whole == .milliseconds(225))
    }

    @Test(
        "what an authentication takes beyond its time is taken off that of the work, and what it leaves is not added",
        arguments: [(0, 200), (25, 200), (26, 199), (125, 100), (225, 0), (226, 0), (60_000, 0)]
    )
    func left(spent: Int, expected: Int) {
        #expect(deadline.left(afterAuthentication: .milliseconds(spent)) == .milliseconds(expected))
    }
}
