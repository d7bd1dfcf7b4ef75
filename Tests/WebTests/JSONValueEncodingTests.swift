import BillingCore
import Testing
import Web

@Suite struct JSONValueEncodingTests {
    private struct Inner: Encodable {
        let unitAmount: FixedDecimal
        let at: Instant
    }

    private struct Outer: Encodable {
        let zebra: Int
        let requestID: String
        let absent: String?
        let absentInner: Inner?
        let inner: [Inner]
        let metadata: [String: Int]
        let raw: JSONValue
        let flag: Bool?
        let count: Int64?
    }

    @Test func namesAreSnakeCaseAndSortedAndNothingIsLeftOut() throws {
        let inner = Inner(unitAmount: try FixedDecimal(parsing: "0.10"), at: Instant(microseconds: 0))
        let value = Outer(
            zebra: 1,
            requestID: "a/b",
            absent: nil,
            absentInner: nil,
            inner: [inner],
            metadata: ["camelCase": 1],
            raw: try JSONValue(parsing: #"{"keepMe": 1.50}"#),
            flag: true,
            count: nil
        )
        let text = try JSONValue(encoding: value).text
        #expect(
            text == #"{"absent":null,"absent_inner":null,"count":null,"flag":true,"#
                + #""inner":[{"at":"1970-01-01T00:00:00.000000Z","unit_amount":"0.1"}],"metadata":{"camelCase":1},"#
                + #""raw":{"keepMe":1.50},"request_id":"a/b","zebra":1}"#
        )
    }

    @Test func emptyContainersKeepTheirKind() throws {
        #expect(try JSONValue(encoding: [Int]()).text == "[]")
        #expect(try JSONValue(encoding: [String: Int]()).text == "{}")
        #expect(
            try JSONValue(encoding: Page(data: [Int](), nextCursor: nil)).text == #"{"data":[],"next_cursor":null}"#
        )
    }

    @Test func aNumberThatJSONDoesNotHaveIsRefused() {
        #expect(throws: EncodingError.self) { _ = try JSONValue(encoding: ["x": Double.nan]) }
    }
}
