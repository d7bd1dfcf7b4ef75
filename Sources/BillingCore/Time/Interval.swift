/// A half-open span of time: `start` belongs to it, `end` does not.
@usableFromInline
package struct Interval: Sendable, Hashable {
    @usableFromInline package let start: Instant
    @usableFromInline package let end: Instant

    @inlinable
    package init(start: Instant, end: Instant) {
        self.start = start
        self.end = end
    }

    /// All time: from `Instant.minimum` to `Instant.maximum`.
    package static let allTime = Interval(start: .minimum, end: .maximum)

    @inlinable
    package func contains(_ instant: Instant) -> Bool {
        start <= instant && instant < end
    }

    /// True when no instant is inside, which includes an end before the start.
    @inlinable package var isEmpty: Bool { end <= start }

    /// The elapsed time in microseconds; zero when empty.
    @inlinable package var microseconds: Int64 { isEmpty ? 0 : end.microseconds(since: start) }

    /// What both have in common; nil when that is nothing.
    package func intersection(_ other: Interval) -> Interval? {
        let common = Interval(start: max(start, other.start), end: min(end, other.end))
        return common.isEmpty ? nil : common
    }
}
