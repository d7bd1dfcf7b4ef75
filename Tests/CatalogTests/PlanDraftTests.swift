import BillingCore
import Testing
import Web

@testable import Catalog

@Suite struct PlanDraftTests {
    static let faulty: [(String, [String])] = [
        (#"{"interval":"year"}"#, ["/interval not_supported"]),
        (
            #"{"fees":[{"key":"a","amount":"-1"},{"key":"a","amount":"1","charged":"later"}]}"#,
            ["/fees/0/amount out_of_range", "/fees/1/charged invalid_value", "/fees/1/key duplicate"]
        ),
        (#"{"charges":[{"feature":"f"}]}"#, ["/charges/0/price required"]),
        (
            #"""
            {"charges":[{"feature":"f","price":{"model":"per_unit","unit_amount":"1"}},{"feature":"f",
            "price":{"model":"per_unit","unit_amount":"1"}}]}
            """#,
            ["/charges/1/feature duplicate"]
        ),
        (
            #"""
            {"quotas":[{"feature":"f","limit":"1","window":"day"},{"feature":"f","limit":"2","window":"day"},
            {"feature":"f","limit":"2","window":"month"}]}
            """#,
            ["/quotas/1/window duplicate"]
        ),
        (
            #"{"quotas":[{"feature":"f","limit":"-1","window":"year","mode":"firm","overage":"x"}]}"#,
            [
                "/quotas/0/limit out_of_range", "/quotas/0/window invalid_value", "/quotas/0/mode invalid_value",
                "/quotas/0/overage invalid_value",
            ]
        ),
        (
            #"{"spend_cap":{"mode":"firm"},"minimum_commitment":"-1","included_credit":5,"trial_days":731}"#,
            [
                "/minimum_commitment out_of_range", "/included_credit invalid_type", "/spend_cap/amount required",
                "/spend_cap/mode invalid_value", "/trial_days out_of_range",
            ]
        ),
        (#"{"charge":[]}"#, ["/charge unknown_field"]),
    ]

    @Test(arguments: faulty)
    func pointsAtEveryFault(text: String, expected: [String]) throws {
        #expect(faults { try PlanDraft.read(JSONObjectReader(JSONValue(parsing: text)), isStored: false) } == expected)
    }

    @Test func aSoftQuotaThatDeniesIsReadWhereAnEarlierReleaseStoredIt() throws {
        let text = #"{"quotas":[{"feature":"f","limit":"1","window":"day","mode":"soft","overage":"denied"}]}"#
        let stored = try PlanDraft.read(JSONObjectReader(JSONValue(parsing: text)), isStored: true)
        #expect(stored.quotas.map(\.overage) == [.denied])
        let found = faults { try PlanDraft.read(JSONObjectReader(JSONValue(parsing: text)), isStored: false) }
        #expect(found == ["/quotas/0/overage not_applicable"])
    }

    @Test func definitionsSurviveStorage() throws {
        let text = """
            {"interval":"month","fees":[{"key":"platform","name":"Platform fee","amount":"20.00"}],
             "charges":[{"feature":"f","price":{"model":"graduated","tiers":[
                {"up_to":"1000000","unit_amount":"0"},{"up_to":null,"unit_amount":"0.000002","flat_amount":"0"}]}}],
             "quotas":[{"feature":"f","limit":"5000000","window":"billing_period"}],
             "minimum_commitment":"50.00","included_credit":"5.00","spend_cap":{"amount":"500"},"trial_days":14}
            """
        let draft = try PlanDraft.read(JSONObjectReader(JSONValue(parsing: text)), isStored: false)
        let definition = PlanDefinition(
            fees: draft.fees,
            charges: draft.charges.map {
                Charge(featureID: FeatureID(1), featureKey: $0.feature, price: $0.price)
            },
            quotas: draft.quotas.map { Quota($0, feature: FeatureID(1)) },
            terms: draft.terms
        )
        let again = try PlanDraft.read(JSONObjectReader(JSONValue(parsing: definition.storedText)), isStored: true)
        #expect(again.fees == draft.fees)
        #expect(again.charges.map(\.price) == draft.charges.map(\.price))
        #expect(again.quotas.map(\.limit) == draft.quotas.map(\.limit))
        #expect(draft.quotas.map(\.overage) == [.denied])
        #expect(again.terms == draft.terms)
        #expect(draft.terms.minimumCommitment == FixedDecimal(50))
        #expect(draft.terms.includedCredit == FixedDecimal(5))
        #expect(draft.terms.spendCap == SpendCap(amount: FixedDecimal(500), mode: .hard))
        #expect(draft.terms.trialDays == 14)
    }
}
