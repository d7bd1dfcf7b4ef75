import BillingCore
import HTTPTypes
import Metrics
import Synchronization

/// Slows down who guesses credentials. **Only failures count**, per address and per credential id, and only failures
/// are refused: a credential that this replica knows to be valid passes whatever else comes from its address. What the
/// replica has never seen is looked up only while its address has failures left, so that a flood of made-up credentials
/// does not reach the database. See ADR 0018.
package final class AuthenticationThrottle: Sendable {
    /// Failures in a minute; 0 is no limit.
    package struct Limits: Sendable {
        package var failuresPerAddress = 60
        package var failuresPerCredential = 30
        /// How many addresses, and how many credential ids, are kept in mind at most.
        package var capacity = 20_000

        package init() {}
    }

    fileprivate struct State {
        var addresses: FailureBudgets<IPAddress>?
        var credentials: FailureBudgets<String>?
    }

    private let state: Mutex<State>
    private let clock: Clock
    private let failures = Counter(label: "turnpike_authentication_failures_total")
    private let refusedAddresses = Counter(label: throttled, dimensions: [("by", "address")])
    private let refusedCredentials = Counter(label: throttled, dimensions: [("by", "credential")])
    private static let throttled = "turnpike_authentication_throttled_total"

    package init(limits: Limits, clock: Clock) {
        self.clock = clock
        state = Mutex(
            State(
                addresses: limits.failuresPerAddress == 0
                    ? nil : FailureBudgets(failures: limits.failuresPerAddress, capacity: limits.capacity),
                credentials: limits.failuresPerCredential == 0
                    ? nil : FailureBudgets(failures: limits.failuresPerCredential, capacity: limits.capacity)
            )
        )
    }

    /// Asked before a credential that nobody here knows is looked up, or verified at some cost: throws the 429 of an
    /// address that has no failures left.
    package func requireFailuresLeft(_ address: IPAddress) throws(Problem) {
        let now = clock.now()
        let refusal = state.withLock { $0.refusal(of: address.subscriber, now) }
        guard let refusal else { return }
        refusedAddresses.increment()
        throw refusal
    }

    /// Whether a failure from this address with this credential would not be refused.
    package func hasFailuresLeft(_ address: IPAddress, credentialID: String) -> Bool {
        let now = clock.now()
        return state.withLock { state in
            state.refusal(of: address.subscriber, now) == nil && state.refusal(of: credentialID, now) == nil
        }
    }

    /// Counts a failed authentication and gives its answer: the 401 it came with, or the 429 when the address or the
    /// credential had no failures left before.
    ///
    /// - Parameter credentialID: names what was presented, as far as it names something: `key:<id>`.
    package func failed(_ problem: Problem, from address: IPAddress, credentialID: String?) -> Problem {
        failures.increment()
        let now = clock.now()
        let (byAddress, byCredential) = state.withLock { state in
            let refusals = (
                state.refusal(of: address.subscriber, now), credentialID.flatMap { state.refusal(of: $0, now) }
            )
            state.addresses?.spend(address.subscriber, now: now)
            if let credentialID { state.credentials?.spend(credentialID, now: now) }
            return refusals
        }
        if let byAddress {
            refusedAddresses.increment()
            return byAddress
        }
        guard let byCredential else { return problem }
        refusedCredentials.increment()
        return byCredential
    }
}

extension AuthenticationThrottle.State {
    fileprivate func refusal(of address: IPAddress, _ now: Instant) -> Problem? {
        addresses?.secondsUntilNext(address, now: now).map { seconds in
            .tooManyAuthenticationFailures(
                "from this address",
                policy: "authentication-failures-address",
                quota: addresses?.failures ?? 0,
                retryAfterSeconds: seconds
            )
        }
    }

    fileprivate func refusal(of credentialID: String, _ now: Instant) -> Problem? {
        credentials?.secondsUntilNext(credentialID, now: now).map { seconds in
            .tooManyAuthenticationFailures(
                "with this credential",
                policy: "authentication-failures-credential",
                quota: credentials?.failures ?? 0,
                retryAfterSeconds: seconds
            )
        }
    }
}

extension IPAddress {
    /// An IPv6 subscriber has a whole /64 to call from, so that is what counts as one address.
    package var subscriber: IPAddress {
        isIPv4 ? self : IPAddress(bits: bits & (UInt128.max << 64))
    }

    /// `192.0.2.1` or `2001:db8::/64`.
    package var subscriberText: String {
        isIPv4 ? description : "\(subscriber)/64"
    }
}

extension Problem {
    fileprivate static func tooManyAuthenticationFailures(
        _ origin: String,
        policy: String,
        quota: Int,
        retryAfterSeconds: Int
    ) -> Problem {
        .exhausted(
            policy,
            quota: quota,
            windowSeconds: 60,
            retryAfterSeconds: retryAfterSeconds,
            code: "too_many_authentication_failures",
            detail: "Too many calls \(origin) failed to authenticate. Try again in \(retryAfterSeconds) seconds."
        )
    }
}
