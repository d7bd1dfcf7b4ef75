/// How long an operation takes at most that is answered while the database is away, see
/// `Operation.isAnsweredInOutage`.
package struct AnswerDeadline: Sendable {
    /// For its own work.
    package let work: Duration

    package init(milliseconds: Int) {
        work = .milliseconds(milliseconds)
    }

    /// For who asks, where something is known that can stand in.
    package var authentication: Duration { work / 8 }

    /// For both, from the arrival of the request's head on.
    package var whole: Duration { work + authentication }

    /// What is left for the work after an authentication that took so long.
    package func left(afterAuthentication spent: Duration) -> Duration {
        max(.zero, min(work, whole - spent))
    }
}
