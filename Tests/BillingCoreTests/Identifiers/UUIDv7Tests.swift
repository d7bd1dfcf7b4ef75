import BillingCore
import TestSupport
import Testing

@Suite struct UUIDv7Tests {
    /// RFC 9562, appendix A.6.
    @Test func `the RFC's example is built and printed`() {
        let uuid = UUIDv7(milliseconds: 1_645_557_742_000, random: (0xFCC3, 0x18C4_DC0C_0C07_398F))
        #expect(uuid.description == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
        #expect(uuid.milliseconds == 1_645_557_742_000)
    }

    @Test func `text and value give each other back`() throws {
        var generator = SeededGenerator(seed: 20)
        for _ in 0..<2_000 {
            let time = Int64.random(in: 0..<1 << 48, using: &generator)
            let uuid = UUIDv7(
                milliseconds: time,
                random: (UInt16.random(in: 0...(.max), using: &generator), generator.next())
            )
            #expect(UUIDv7(uuid.description) == uuid)
            #expect(UUIDv7(uuid.description.uppercased()) == uuid)
            #expect(uuid.milliseconds == time)
        }
    }

    @Test func `identifiers sort by time, then by their random bits`() {
        let early = UUIDv7(milliseconds: 1, random: (0xFFF, .max))
        let late = UUIDv7(milliseconds: 2, random: (0, 0))
        #expect(early < late)
        #expect(late < UUIDv7(milliseconds: 2, random: (0, 1)))
        #expect(SubscriptionID(rawValue: early) < SubscriptionID(rawValue: late))
    }

    @Test(arguments: [
        "", "017f22e2-79b0-7cc3-98c4-dc0c0c07398", "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-18c4-dc0c0c07398f", "017f22e279b07cc398c4dc0c0c07398f0000",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g", "{17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    ])
    func `any other text is refused`(text: String) {
        #expect(UUIDv7(text) == nil)
        #expect(SubscriptionID(text) == nil)
    }
}
