internal import BillingCore
internal import Web

/// The hash that tells a repetition from a conflict: 64 bits over the normalised event, the same in every process.
///
/// It covers type, subject, time if given, the LLM fields after their aliases are resolved, and what remains of data
/// and extensions; not source and id, which are the identity, and nothing that the server adds. Two events that say the
/// same in other words have the same hash: order of members, white space, escapes, spelling of numbers and choice of
/// alias do not matter. It mixes with `JSONHash`, which is no security boundary: a sender who makes two contents
/// collide only hides his own conflict.
struct EventContentHash {
    private(set) var state: UInt64 = 0x5475_726E_7069_6B65

    var value: Int64 { Int64(bitPattern: state) }

    mutating func add(_ word: UInt64) {
        state = JSONHash.mix(state, word)
    }

    /// Keeps "not stated" apart from every value.
    mutating func add(_ word: UInt64?) {
        add(word == nil ? 0x6E : 0x76)
        if let word { add(word) }
    }

    mutating func add(_ count: Int64?) {
        add(count.map(UInt64.init(bitPattern:)))
    }

    mutating func add(_ cost: FixedDecimal?) {
        guard let cost else { return add(UInt64?.none) }
        add(UInt64(truncatingIfNeeded: cost.unscaled) as UInt64?)
        add(UInt64(truncatingIfNeeded: cost.unscaled >> 64))
    }

    mutating func add(_ members: JSONMembersHash) {
        add(members.count == 0 ? nil : members.value as UInt64?)
    }
}
