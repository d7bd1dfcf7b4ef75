/// Prepared requests of full LLM events, of admissions of the calls that these report, or of what is left of a tenant's
/// quotas. Only the digits of ids and subjects change from one request to the next, in a copy that whoever sends them
/// keeps.
struct RequestTemplate: Sendable {
    /// How many events or calls a request has at most, for ids that are never the same.
    static let mostEvents = 10_000

    /// A call that holds tokens, a request and money.
    static let call = """
        {"id":"req-################","source":"gateway-eu-1","type":"llm.completion","subject":"tenant-@@@@@@",\
        "data":{"provider":"openai","model":"gpt-4o-2024-11-20","input_tokens":1200,"cached_input_tokens":1000,\
        "output_tokens":300,"user":"user-17","feature":"chat","cost_center":"cc-12"}}
        """

    /// A request that has marks where digits are to be.
    let bytes: [UInt8]
    private let idOffsets: [Int]
    private let subjectOffsets: [Int]
    private let tenants: Int
    /// How many consecutive events of a request share a tenant.
    private let shared: Int
    /// What an answer has so many times when all that the request asks for was done.
    private let expected: [(text: [UInt8], count: Int)]

    init(events: Int, tenants: Int, port: Int, key: String, time: String) {
        let event = """
            {"specversion":"1.0","id":"evt-################","source":"gateway-eu-1","type":"llm.completion",\
            "subject":"tenant-@@@@@@","time":"\(time)","data":{"provider":"openai","model":"gpt-4o-2024-11-20",\
            "input_tokens":1200,"cached_input_tokens":1000,"output_tokens":300,"reasoning_tokens":120,\
            "user":"user-17","feature":"chat","cost_center":"cc-12","request_id":"req-7f3a9c"}}
            """
        let body = events == 1 ? event : "[" + Array(repeating: event, count: events).joined(separator: ",") + "]"
        let expected = [(text: "\"accepted\":\(events),", count: 1), (text: #""problems":[]}"#, count: 1)]
        self.init(
            path: "/events",
            body: body,
            expected: expected,
            tenants: tenants,
            shared: 10,
            port: port,
            key: key
        )
    }

    /// Asks for one call, or for several in an array, each of another tenant.
    init(calls: Int = 1, admissionsOf tenants: Int, port: Int, key: String) {
        let array = "[" + Array(repeating: Self.call, count: calls).joined(separator: ",") + "]"
        // A refusal has the status 200, too.
        let expected = [#""allowed":true"#, #""reservation":{"#, #""warnings":[]"#].map { (text: $0, count: calls) }
        self.init(
            path: "/admissions",
            body: calls == 1 ? Self.call : array,
            expected: expected,
            tenants: tenants,
            shared: 1,
            port: port,
            key: key
        )
    }

    /// Asks, as a tenant's portal does, what is left of its quotas.
    init(quotasOf tenant: String, count: Int, port: Int, token: String) {
        self.init(
            method: "GET",
            path: "/tenants/\(tenant)/quotas",
            body: "",
            expected: [(text: "\"remaining\":", count: count)],
            tenants: 1,
            shared: 1,
            port: port,
            key: token
        )
    }

    private init(
        method: String = "POST",
        path: String,
        body: String,
        expected: [(text: String, count: Int)],
        tenants: Int,
        shared: Int,
        port: Int,
        key: String
    ) {
        let request = """
            \(method) /api/v1\(path) HTTP/1.1\r
            Host: 127.0.0.1:\(port)\r
            Authorization: Bearer \(key)\r
            Content-Type: application/json\r
            Content-Length: \(body.utf8.count)\r
            \r
            \(body)
            """
        bytes = Array(request.utf8)
        idOffsets = Self.offsets(of: UInt8(ascii: "#"), count: 16, in: bytes)
        subjectOffsets = Self.offsets(of: UInt8(ascii: "@"), count: 6, in: bytes)
        self.tenants = tenants
        self.shared = shared
        self.expected = expected.map { (text: Array($0.text.utf8), count: $0.count) }
    }

    var bytesPerEvent: Int { bytes.count / idOffsets.count }

    /// Makes of a copy of `bytes` a request in which every event has an id of its own, whatever it was before.
    /// - Parameter run: tells the ids of several runs apart, up to 99.
    func fill(_ request: inout [UInt8], run: Int, connection: Int, sequence: Int) {
        let first = ((run * 1_000 + connection) * 10_000_000 + sequence) * Self.mostEvents
        request.withUnsafeMutableBufferPointer { bytes in
            for (position, offset) in idOffsets.enumerated() {
                Self.write(first + position, digits: 16, at: offset, in: bytes)
            }
            for (position, offset) in subjectOffsets.enumerated() {
                let tenant = (connection * 131 + sequence * 17 + position / shared) % tenants
                Self.write(tenant, digits: 6, at: offset, in: bytes)
            }
        }
    }

    /// Whether an answer says that all was done.
    func isExpected(status: Int, body: ArraySlice<UInt8>) -> Bool {
        status == 200 && expected.allSatisfy { body.occurrences(of: $0.text) == $0.count }
    }

    private static func write(_ number: Int, digits: Int, at offset: Int, in bytes: UnsafeMutableBufferPointer<UInt8>) {
        var rest = number
        for position in stride(from: offset + digits - 1, through: offset, by: -1) {
            bytes[position] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
    }

    private static func offsets(of mark: UInt8, count: Int, in bytes: [UInt8]) -> [Int] {
        var offsets: [Int] = []
        var position = 0
        while position < bytes.count {
            if bytes[position] == mark {
                offsets.append(position)
                position += count
            } else {
                position += 1
            }
        }
        return offsets
    }
}
