import BillingCore
import HTTPTypes
import TestSupport
import Testing

@testable import Web

@Suite struct AuthenticationThrottleTests {
    private let clock = TestClock()
    private let refused = Problem.unauthenticated("no")

    private func throttle(perAddress: Int = 3, perCredential: Int = 0, capacity: Int = 100) -> AuthenticationThrottle {
        var limits = AuthenticationThrottle.Limits()
        limits.failuresPerAddress = perAddress
        limits.failuresPerCredential = perCredential
        limits.capacity = capacity
        return AuthenticationThrottle(limits: limits, clock: clock.clock)
    }

    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    private func statuses(
        _ count: Int,
        _ throttle: AuthenticationThrottle,
        from address: String,
        credentialID: String? = nil
    ) throws -> [Int] {
        let address = try self.address(address)
        return (0..<count).map { _ in
            throttle.failed(refused, from: address, credentialID: credentialID).status.code
        }
    }

    @Test func anAddressIsRefusedBeyondItsFailuresAndTheyComeBackWithTime() throws {
        let throttle = throttle()
        #expect(try statuses(5, throttle, from: "192.0.2.1") == [401, 401, 401, 429, 429])
        #expect(try statuses(1, throttle, from: "192.0.2.2") == [401])
        let problem = throttle.failed(refused, from: try address("192.0.2.1"), credentialID: nil)
        #expect(problem.code == "too_many_authentication_failures")
        #expect(problem.headers[.retryAfter] == "20")
        #expect(problem.headers[.rateLimit] == "\"authentication-failures-address\";r=0;t=20")
        #expect(problem.headers[.rateLimitPolicy] == "\"authentication-failures-address\";q=3;w=60")
        // Insisting has not made it later: the first comes back after a third of a minute.
        clock.advance(seconds: 20)
        #expect(try statuses(2, throttle, from: "192.0.2.1") == [401, 429])
        clock.advance(seconds: 60)
        #expect(try statuses(4, throttle, from: "192.0.2.1") == [401, 401, 401, 429])
    }

    @Test func aLookUpIsRefusedOnlyWhileTheAddressHasNoFailuresLeft() throws {
        let throttle = throttle()
        let address = try address("192.0.2.1")
        for _ in 0..<100 { try throttle.requireFailuresLeft(address) }
        _ = try statuses(3, throttle, from: "192.0.2.1")
        #expect(throws: Problem.self) { try throttle.requireFailuresLeft(address) }
        try throttle.requireFailuresLeft(self.address("192.0.2.2"))
        clock.advance(seconds: 20)
        try throttle.requireFailuresLeft(address)
    }

    @Test func aCredentialIsRefusedFromWhateverAddress() throws {
        let throttle = throttle(perAddress: 0, perCredential: 2)
        #expect(try statuses(1, throttle, from: "192.0.2.1", credentialID: "key:a") == [401])
        #expect(try statuses(1, throttle, from: "192.0.2.2", credentialID: "key:a") == [401])
        #expect(try statuses(1, throttle, from: "192.0.2.3", credentialID: "key:a") == [429])
        #expect(try statuses(1, throttle, from: "192.0.2.3", credentialID: "key:b") == [401])
        #expect(try statuses(9, throttle, from: "192.0.2.3").allSatisfy { $0 == 401 })
    }

    @Test func aSubscribersIPv6NetworkIsOneAddress() throws {
        let throttle = throttle(perAddress: 2)
        #expect(try statuses(1, throttle, from: "2001:db8:1:2::1") == [401])
        #expect(try statuses(2, throttle, from: "2001:db8:1:2:ffff::9") == [401, 429])
        #expect(try statuses(1, throttle, from: "2001:db8:1:3::1") == [401])
        // Neighbours among the IPv4 addresses are not.
        #expect(try statuses(2, throttle, from: "192.0.2.1") == [401, 401])
        #expect(try statuses(1, throttle, from: "192.0.2.2") == [401])
    }

    @Test func memoryIsBoundedAndWhoComesLateSharesABudget() throws {
        var budgets = FailureBudgets<Int>(failures: 2, capacity: 100)
        let start = clock.now
        for caller in 0..<100 { budgets.spend(caller, now: start) }
        for caller in 100..<102 {
            #expect(budgets.secondsUntilNext(caller, now: start) == nil)
            budgets.spend(caller, now: start)
        }
        #expect(budgets.secondsUntilNext(102, now: start) == 30)
        #expect(budgets.remaining(0, now: start) == 1)
        // Budgets that are whole again make room.
        let later = start.adding(seconds: 60)
        budgets.spend(200, now: later)
        budgets.spend(200, now: later)
        #expect(budgets.secondsUntilNext(200, now: later) == 30)
        #expect(budgets.secondsUntilNext(201, now: later) == nil)
    }
}
