import BillingCore
import Testing
import Web

@testable import Catalog

@Suite struct MeterInputTests {
    static let acceptable = [
        #"{"key":"requests","event_type":"llm.completion","aggregation":"count","dimensions":{"model":"model"}}"#,
        #"""
        {"key":"gpu","event_type":"job.done","aggregation":"sum","value":"usage.seconds",
        "filters":[{"property":"pool","in":["a100"]}]}
        """#,
        #"{"key":"users","event_type":"llm.completion","aggregation":"unique_count","value":"user"}"#,
        #"""
        {"key":"t","event_type":"e","aggregation":"sum","class_dimension":"token_class",
        "value":{"in":"input_tokens","out":"plain_output_tokens"},"ignores":["reasoning_tokens"]}
        """#,
        #"""
        {"key":"t","event_type":"e","aggregation":"sum","class_dimension":"token_class",
        "value":{"uncached_input":"uncached_input_tokens","cached_input":"cached_input_tokens",
        "cache_write":"cache_write_tokens","output":"output_tokens"}}
        """#,
        #"""
        {"key":"t","event_type":"e","aggregation":"sum","value":"input_tokens","filters":[{"property":"a",
        "not_in":["x"]},{"property":"b","exists":false}]}
        """#,
    ]

    @Test(arguments: acceptable)
    func readsWhatTheContractShows(text: String) throws {
        _ = try MeterInput.read(JSONObjectReader(JSONValue(parsing: text)))
    }

    @Test(arguments: acceptable)
    func definitionsSurviveStorage(text: String) throws {
        let definition = try MeterInput.read(JSONObjectReader(JSONValue(parsing: text))).definition
        #expect(try MeterDefinition(stored: definition.storedText, key: "m") == definition)
    }

    static let faulty: [(String, [String])] = [
        ("{}", ["/key required", "/event_type required", "/aggregation required"]),
        (#"{"key":"Bad Key","event_type":"e","aggregation":"count"}"#, ["/key invalid_key"]),
        (#"{"key":"m","event_type":"e","aggregation":"average"}"#, ["/aggregation invalid_value"]),
        (#"{"key":"m","event_type":"e","aggregation":"sum"}"#, ["/value required"]),
        (#"{"key":"m","event_type":"e","aggregation":"count","value":"n"}"#, ["/value not_applicable"]),
        (#"{"key":"m","event_type":"e","aggregation":"sum","value":7}"#, ["/value invalid_type"]),
        (#"{"key":"m","event_type":"e","aggregation":"sum","value":"a..b"}"#, ["/value invalid_path"]),
        (#"{"key":"m","event_type":"a\nb","aggregation":"count"}"#, ["/event_type control_character"]),
        (#"{"key":"m","event_type":"a\u0085b","aggregation":"count"}"#, ["/event_type control_character"]),
        (
            #"""
            {"key":"m","event_type":"e","aggregation":"sum","value":"$.data.n","dimensions":{"d":"$[0]"},
            "filters":[{"property":"$.p","exists":true}]}
            """#,
            ["/dimensions/d invalid_path", "/filters/0/property invalid_path", "/value invalid_path"]
        ),
        (#"{"key":"m","event_type":"e","aggregation":"sum","value":"prompt_tokens"}"#, ["/value alias"]),
        (
            #"{"key":"m","event_type":"e","aggregation":"max","value":"v","dimensions":{"d":"p"}}"#,
            ["/dimensions not_applicable"]
        ),
        (
            #"""
            {"key":"m","event_type":"e","aggregation":"count","dimensions":{"a":"a","b":"b","c":"c","d":"d",
            "e":"e","f":"f","g":"g","h":"h","i":"i"}}
            """#,
            ["/dimensions too_many"]
        ),
        (
            #"{"key":"m","event_type":"e","aggregation":"count","dimensions":{"A b":"p"}}"#,
            ["/dimensions/A b invalid_key"]
        ),
        (
            #"""
            {"key":"m","event_type":"e","aggregation":"count","filters":[{"property":"p"},{"property":"p",
            "in":[]},{"property":"p","in":["a"],"exists":true}]}
            """#,
            ["/filters/0 invalid_filter", "/filters/1/in too_few", "/filters/2 invalid_filter"]
        ),
        (
            #"{"key":"m","event_type":"e","aggregation":"sum","value":{"in":"input_tokens"}}"#,
            ["/class_dimension required"]
        ),
        (
            #"{"key":"m","event_type":"e","aggregation":"sum","value":"v","class_dimension":"c"}"#,
            ["/class_dimension not_applicable"]
        ),
        (
            #"{"key":"m","event_type":"e","aggregation":"count","value":{"in":"input_tokens"},"class_dimension":"c"}"#,
            ["/value not_applicable"]
        ),
        (
            #"""
            {"key":"m","event_type":"e","aggregation":"sum","class_dimension":"c",
            "value":{"a":"cached_input_tokens"}}
            """#,
            ["/value incomplete_total"]
        ),
        (
            #"""
            {"key":"m","event_type":"e","aggregation":"sum","class_dimension":"c","value":{"a":"input_tokens",
            "b":"cached_input_tokens"}}
            """#,
            ["/value/b counted_twice"]
        ),
        (
            #"""
            {"key":"m","event_type":"e","aggregation":"sum","class_dimension":"c","value":{"a":"output_tokens"},
            "ignores":["cached_input_tokens","reasoning_tokens"]}
            """#,
            ["/ignores/0 not_ignorable", "/ignores/1 not_ignorable"]
        ),
        (
            #"{"key":"m","event_type":"e","aggregation":"sum","value":"v","ignores":["reasoning_tokens"]}"#,
            ["/ignores not_applicable"]
        ),
        (
            #"""
            {"key":"m","event_type":"e","aggregation":"sum","class_dimension":"d","dimensions":{"d":"p"},
            "value":{"a":"output_tokens"}}
            """#,
            ["/class_dimension duplicate"]
        ),
        (#"{"key":"m","event_type":"e","aggregation":"count","unit":"x"}"#, ["/unit unknown_field"]),
    ]

    @Test(arguments: faulty)
    func pointsAtEveryFault(text: String, expected: [String]) throws {
        let found = faults { try MeterInput.read(JSONObjectReader(JSONValue(parsing: text))) }
        #expect(found == expected)
    }
}

/// The faults of a reading as `pointer code`, in order; what else is thrown is told as it is.
func faults(_ read: () throws -> some Any) -> [String] {
    do {
        _ = try read()
        return []
    } catch let failure as ValidationFailure {
        return failure.faults.map { "\($0.pointer) \($0.code)" }
    } catch {
        return ["\(error)"]
    }
}
