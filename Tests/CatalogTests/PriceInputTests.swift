import BillingCore
import Testing
import Web

@testable import Catalog

/// Prices as they are written in a plan version, as far as they can be judged without a meter.
@Suite struct PriceInputTests {
    /// A price, and its faults without the pointer of the price.
    static let faulty: [(String, [String])] = [
        (#"{"model":"magic","amount":"1"}"#, ["/model invalid_value"]),
        (#"{"amount":"1"}"#, ["/model required"]),
        (#"{"model":"flat","amount":"-1"}"#, ["/amount out_of_range"]),
        (#"{"model":"flat","amount":"1","unit_amount":"1"}"#, ["/unit_amount unknown_field"]),
        (#"{"model":"per_unit","unit_amount":0.5}"#, ["/unit_amount invalid_type"]),
        (#"{"model":"per_unit","unit_amount":"0.0000000000001"}"#, ["/unit_amount out_of_range"]),
        (#"{"model":"graduated"}"#, ["/tiers required"]),
        (#"{"model":"volume","tiers":[]}"#, ["/tiers too_few"]),
        (
            #"""
            {"model":"graduated","tiers":[{"up_to":"10","unit_amount":"1"},{"up_to":"5","unit_amount":"1"},
            {"up_to":null,"unit_amount":"1"}]}
            """#,
            ["/tiers/1/up_to not_ascending"]
        ),
        (
            #"{"model":"volume","tiers":[{"unit_amount":"1"},{"up_to":"5","unit_amount":"-1"}]}"#,
            [
                "/tiers/0/up_to open_before_last", "/tiers/1/up_to last_not_open",
                "/tiers/1/unit_amount out_of_range",
            ]
        ),
        (
            #"{"model":"stairstep","tiers":[{"up_to":"5","unit_amount":"1"},{"flat_amount":"-1"}]}"#,
            ["/tiers/0/flat_amount required", "/tiers/0/unit_amount unknown_field"]
        ),
        (#"{"model":"stairstep","tiers":[{"flat_amount":"-1"}]}"#, ["/tiers/0/flat_amount out_of_range"]),
        (#"{"model":"package","amount":"1"}"#, ["/package_size required"]),
        (
            #"{"model":"package","amount":"-1","package_size":"0","free_units":"-1"}"#,
            ["/amount out_of_range", "/free_units out_of_range", "/package_size out_of_range"]
        ),
        (
            #"{"model":"percentage","percent":"100.1","fixed_amount":"-1"}"#,
            ["/percent out_of_range", "/fixed_amount out_of_range"]
        ),
        (#"{"model":"percentage","percent":"0.00000000001"}"#, ["/percent out_of_range"]),
        (#"{"model":"percentage","percent":"1","minimum":"2","maximum":"1"}"#, ["/maximum out_of_range"]),
        (#"{"model":"cost_plus"}"#, ["/markup_percent required"]),
        (#"{"model":"cost_plus","markup_percent":"-1"}"#, ["/markup_percent out_of_range"]),
        (#"{"model":"matrix"}"#, ["/dimensions required", "/default required"]),
        (#"{"model":"matrix","dimensions":["a"],"cells":[]}"#, ["/default required"]),
        (
            #"{"model":"matrix","dimensions":["a"],"default":{"model":"matrix","dimensions":["a"]}}"#,
            ["/default/default required"]
        ),
        (
            #"""
            {"model":"matrix","dimensions":["a"],"default":{"model":"matrix","dimensions":["a"],"default":
            {"model":"per_unit","unit_amount":"1"}}}
            """#,
            ["/default/model not_applicable"]
        ),
        (
            #"{"model":"matrix","dimensions":["a"],"default":{"model":"flat","amount":"1"}}"#,
            ["/default/model not_applicable"]
        ),
        (
            #"""
            {"model":"matrix","dimensions":["a","b"],"cells":[{"match":{"a":"1","c":"1"},"price":{"model":"per_unit",
            "unit_amount":"1"}},{"match":{"a":1,"b":""},"price":{"model":"per_unit","unit_amount":"1"}},{"price":
            {"model":"flat","amount":"1"}}]}
            """#,
            [
                "/cells/0/match/c unknown_dimension", "/cells/0/match/b required", "/cells/1/match/a invalid_element",
                "/cells/2/match required", "/cells/2/price/model not_applicable",
            ]
        ),
        (
            #"""
            {"model":"matrix","dimensions":["a"],"cells":[{"match":{"a":""},"price":{"model":"per_unit",
            "unit_amount":"1"}},{"match":{"a":""},"price":{"model":"per_unit","unit_amount":"2"}}]}
            """#,
            ["/cells/1/match duplicate"]
        ),
    ]

    @Test(arguments: faulty)
    func pointsAtEveryFault(price: String, expected: [String]) throws {
        let text = #"{"charges":[{"feature":"f","price":\#(price)}]}"#
        let found = faults { try PlanDraft.read(JSONObjectReader(JSONValue(parsing: text)), isStored: false) }
        #expect(found == expected.map { "/charges/0/price" + $0 })
    }

    @Test func aMatchThatIsTooLongForACellIsRefused() throws {
        let value = String(repeating: "é", count: 34)
        let text = """
            {"charges":[{"feature":"f","price":{"model":"matrix","dimensions":["a"],"cells":[
             {"match":{"a":"\(value)"},"price":{"model":"per_unit","unit_amount":"1"}}]}}]}
            """
        let found = faults { try PlanDraft.read(JSONObjectReader(JSONValue(parsing: text)), isStored: false) }
        #expect(found == ["/charges/0/price/cells/0/match/a invalid_element"])
    }

    @Test(arguments: [
        #"{"model":"flat","amount":"49"}"#,
        #"{"model":"per_unit","unit_amount":"0.000000000001"}"#,
        #"""
        {"model":"graduated","tiers":[{"flat_amount":"1","unit_amount":"2","up_to":"10"},{"flat_amount":"0",\#
        "unit_amount":"1","up_to":null}]}
        """#,
        #"{"model":"volume","tiers":[{"flat_amount":"1","unit_amount":"2","up_to":null}]}"#,
        #"{"model":"stairstep","tiers":[{"flat_amount":"1","up_to":"10"},{"flat_amount":"2","up_to":null}]}"#,
        #"{"model":"package","amount":"5","free_units":"500","package_size":"1000"}"#,
        #"{"model":"percentage","fixed_amount":"0.3","maximum":null,"minimum":"5","percent":"2.5"}"#,
        #"{"model":"cost_plus","markup_percent":"20"}"#,
        #"""
        {"model":"matrix","cells":[{"match":{"model":"gpt-4o","token_class":""},"price":{"model":"cost_plus",\#
        "markup_percent":"20"}}],"default":null,"dimensions":["model","token_class"]}
        """#,
        #"{"model":"matrix","cells":[],"default":{"model":"per_unit","unit_amount":"1"},"dimensions":["model"]}"#,
    ])
    func everyModelIsShownAsItIsRead(price: String) throws {
        let text = #"{"charges":[{"feature":"f","price":\#(price)}]}"#
        let draft = try PlanDraft.read(JSONObjectReader(JSONValue(parsing: text)), isStored: false)
        #expect(draft.charges.first?.price.json.text == price)
    }

    @Test func dimensionsAreKeptInTheOrderOfTheirNames() throws {
        let text = #"""
            {"charges":[{"feature":"f","price":{"model":"matrix","dimensions":["b","a"],"cells":[{"match":
            {"b":"2","a":"1"},"price":{"model":"per_unit","unit_amount":"1"}}]}}]}
            """#
        let draft = try PlanDraft.read(JSONObjectReader(JSONValue(parsing: text)), isStored: false)
        guard case .matrix(let matrix)? = draft.charges.first?.price else {
            Issue.record("the price is no matrix")
            return
        }
        #expect(matrix.dimensions == ["a", "b"])
        #expect(matrix.price(ofCell: #"{"a":"1","b":"2"}"#) == .perUnit(unitAmount: .one))
        #expect(matrix.price(ofCell: #"{"a":"2","b":"1"}"#) == nil)
    }
}
