/// How much each owner has under way of something that all of them share.
package struct UnderWay<Owner: Hashable & Sendable>: Sendable {
    package private(set) var total = 0
    private var byOwner: [Owner: Int] = [:]

    package init() {}

    /// - Parameter limit: how much an owner may have under way, with this.
    /// - Returns: false where it may not begin.
    package mutating func begin(_ owner: Owner, atMost limit: Int) -> Bool {
        let own = byOwner[owner, default: 0] + 1
        guard own <= limit else { return false }
        byOwner[owner] = own
        total += 1
        return true
    }

    package mutating func end(_ owner: Owner) {
        let own = byOwner[owner, default: 1] - 1
        byOwner[owner] = own == 0 ? nil : own
        total -= 1
    }
}
