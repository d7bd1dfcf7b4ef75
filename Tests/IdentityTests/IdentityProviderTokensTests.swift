import BillingCore
import Crypto
import Testing
import Web

@testable import Identity

@Suite struct IdentityProviderTokensTests {
    private let now = Instant(microseconds: 1_000_000_000)
    private let digest = SHA256.hash(data: Array("token".utf8))

    private func principal() -> Principal {
        Principal(
            credentialID: "idp:sso:u9",
            tenantID: nil,
            tenantKey: nil,
            scopes: [.quotasRead],
            answerKey: AnswerKey(derivedFromSecret: "s")
        )
    }

    /// `hit`, `refused`, or `known` or `new`.
    private func found(_ tokens: IdentityProviderTokens, _ digest: SHA256Digest, afterSeconds: Int64 = 0) -> String {
        switch tokens.find(digest, now: now.adding(seconds: afterSeconds)) {
        case .hit: "hit"
        case .refused: "refused"
        case .miss(let isKnown, _): isKnown ? "known" : "new"
        }
    }

    @Test func forAQuarterOfAnHourItIsLastKnownWhomATokenSpeaksFor() {
        var tokens = IdentityProviderTokens()
        tokens.insert(digest, principal(), end: now.adding(seconds: 3_600), now: now, generation: tokens.generation)
        let short = SHA256.hash(data: Array("short".utf8))
        tokens.insert(short, principal(), end: now.adding(seconds: 60), now: now, generation: tokens.generation)
        #expect(tokens.lastKnown(digest, now: now.adding(seconds: 900)) != nil)
        #expect(tokens.lastKnown(digest, now: now.adding(microseconds: 900_000_001)) == nil)
        #expect(tokens.lastKnown(short, now: now.adding(seconds: 60)) == nil)
        tokens.forget()
        #expect(tokens.lastKnown(digest, now: now) == nil)
    }

    @Test func whatIsStaleIsAskedAgainAndStandsInMeanwhile() {
        var tokens = IdentityProviderTokens()
        let generation = tokens.generation
        tokens.insert(digest, principal(), end: now.adding(seconds: 3_600), now: now, generation: generation)
        tokens.makeStale()
        #expect(found(tokens, digest) == "known")
        #expect(tokens.lastKnown(digest, now: now.adding(seconds: 900)) != nil)
        #expect(tokens.lastKnown(digest, now: now.adding(seconds: 901)) == nil)
        tokens.insert(digest, principal(), end: now.adding(seconds: 3_600), now: now, generation: generation)
        #expect(found(tokens, digest) == "known", "it was read before")
        tokens.forget()
        #expect(tokens.lastKnown(digest, now: now) == nil)
    }

    @Test func whereAskingIsOvertakenByAChangeWhomATokenSpokeForBeforeStandsInNoMore() {
        var tokens = IdentityProviderTokens()
        let other = SHA256.hash(data: Array("other".utf8))
        let generation = tokens.generation
        for digest in [digest, other] {
            tokens.insert(digest, principal(), end: now.adding(seconds: 60), now: now, generation: generation)
        }
        tokens.makeStale()
        tokens.insert(digest, principal(), end: now.adding(seconds: 60), now: now, generation: generation)
        #expect(tokens.lastKnown(digest, now: now) == nil)
        #expect(found(tokens, digest) == "known")
        #expect(tokens.lastKnown(other, now: now) != nil)
    }

    @Test func aRefusedTokenStandsInForNobodyAndStaysKnown() {
        var tokens = IdentityProviderTokens()
        tokens.insert(digest, principal(), end: now.adding(seconds: 60), now: now, generation: tokens.generation)
        tokens.refuse(digest, .unauthenticated("no"), now: now, generation: tokens.generation)
        #expect(tokens.lastKnown(digest, now: now) == nil)
        #expect(found(tokens, digest) == "known")
    }

    @Test func thatAGoodTokenIsRefusedIsBelievedForTwoSecondsAndNotBeyondAChange() {
        var tokens = IdentityProviderTokens()
        func refuse(readIn generation: UInt64) {
            let problem = Problem.forbidden(code: "unknown_tenant", detail: "no")
            tokens.refuse(digest, problem, now: now, generation: generation)
        }
        refuse(readIn: tokens.generation)
        #expect(found(tokens, digest, afterSeconds: 1) == "refused")
        #expect(found(tokens, digest, afterSeconds: 2) == "new")
        tokens.makeStale()
        #expect(found(tokens, digest) == "new")
        refuse(readIn: tokens.generation)
        let generation = tokens.generation
        tokens.forget()
        #expect(found(tokens, digest) == "new")
        refuse(readIn: generation)
        #expect(found(tokens, digest) == "new", "it was read before")
    }

    @Test func aPrincipalIsBelievedForTwoSecondsAndItsTokenIsKnownUntilItsEnd() {
        var tokens = IdentityProviderTokens()
        #expect(found(tokens, digest) == "new")
        tokens.insert(digest, principal(), end: now.adding(seconds: 60), now: now, generation: tokens.generation)
        #expect(found(tokens, digest, afterSeconds: 1) == "hit")
        #expect(found(tokens, digest, afterSeconds: 2) == "known")
        tokens.forget()
        #expect(found(tokens, digest, afterSeconds: 1) == "known")
        #expect(found(tokens, digest, afterSeconds: 59) == "known")
        #expect(found(tokens, digest, afterSeconds: 60) == "new")
    }

    @Test func whatWasReadBeforeEverythingWasForgottenIsNotKept() {
        var tokens = IdentityProviderTokens()
        let generation = tokens.generation
        tokens.forget()
        tokens.insert(digest, principal(), end: now.adding(seconds: 60), now: now, generation: generation)
        #expect(found(tokens, digest) == "known")
    }

    @Test func howManyAreKeptIsBounded() {
        var tokens = IdentityProviderTokens()
        for number in 0...IdentityProviderTokens.capacity {
            let digest = SHA256.hash(data: Array("\(number)".utf8))
            tokens.insert(digest, principal(), end: now.adding(seconds: 60), now: now, generation: tokens.generation)
        }
        #expect(found(tokens, SHA256.hash(data: Array("0".utf8))) == "new")
        #expect(found(tokens, SHA256.hash(data: Array("\(IdentityProviderTokens.capacity)".utf8))) == "hit")
    }
}
