extension Int64 {
    /// After how many whole seconds so many microseconds are over.
    package init(secondsCovering microseconds: Int64) {
        self = microseconds / 1_000_000 + (microseconds % 1_000_000 > 0 ? 1 : 0)
    }
}
