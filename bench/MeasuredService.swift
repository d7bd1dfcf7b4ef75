import Dispatch
import Foundation
import Postgres
import Synchronization

/// The service under measurement: a separate process on a free loopback port.
final class MeasuredService {
    struct NotReady: Error, CustomStringConvertible {
        let description: String
    }

    /// What `scripts/bench` knows the programs by that it has to end when it is interrupted.
    static let mark = ProcessInfo.processInfo.environment.filter { $0.key == "TMPDIR" }

    /// What the bench sets itself, and a login that would migrate somebody's database.
    private static let withheld: Set = [
        "TURNPIKE_PORT", "TURNPIKE_OPERATOR_KEY", "TURNPIKE_LOG_LEVEL", "TURNPIKE_MIGRATION_URL",
    ]

    /// Settings of the caller's environment, which measured programs get as well.
    private static let settings = ProcessInfo.processInfo.environment.filter {
        $0.key.hasPrefix("TURNPIKE_") && !withheld.contains($0.key)
    }

    /// The same to be shown, without values that may be secret; empty where there are none.
    static var shownSettings: String {
        settings.sorted { $0.key < $1.key }.map { name, value in
            let isSecret = ["KEY", "SECRET", "PASSWORD", "TOKEN", "URL"].contains { name.contains($0) }
            return isSecret ? "\(name) (set)" : "\(name)=\(value)"
        }.joined(separator: ", ")
    }

    /// What a measured program runs with: the caller's settings, except where it has its own.
    static func environment(_ own: [String: String]) -> [String: String] {
        settings.merging(own) { $1 }.merging(mark) { $1 }.merging(["PATH": "/usr/bin:/bin"]) { $1 }
    }

    let port: Int
    let key: String
    private let process = Process()
    private let started: ContinuousClock.Instant

    init(binary: String, databaseURL: String) throws {
        port = try LocalCluster.freeLoopbackPort()
        key =
            "tpk_bench_"
            + (0..<43).map { _ in String("ABCDEFGHJKLMNPQRSTUVWXYZ23456789".randomElement() ?? "A") }.joined()
        process.executableURL = URL(fileURLWithPath: binary)
        process.arguments = ["serve"]
        process.environment = Self.environment([
            "DATABASE_URL": databaseURL, "TURNPIKE_PORT": String(port), "TURNPIKE_OPERATOR_KEY": key,
            "TURNPIKE_LOG_LEVEL": "warning",
        ])
        started = .now
        try process.run()
    }

    /// - Returns: how long it took since it was started.
    @discardableResult
    func waitUntilReady() async throws -> Duration {
        let deadline = started + .seconds(30)
        while ContinuousClock.now < deadline {
            // Another program may have taken the port, and would answer in its place.
            guard process.isRunning else { throw NotReady(description: "the service ended before it was ready") }
            let probe = "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            if let answer = try? LoadConnection(port: port).exchange(Array(probe.utf8)), answer.status == 200 {
                return ContinuousClock.now - started
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw NotReady(description: "the service was not ready after 30 seconds")
    }

    var residentMegabytes: Int {
        let status = (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        let kilobytes = line.flatMap { Int($0.filter(\.isNumber)) } ?? 0
        return kilobytes / 1_024
    }

    func stop() {
        process.terminate()
        process.waitUntilExit()
    }
}

/// What limits the measured calls touch.
enum TouchedLimits: String, CaseIterable {
    case quotas = "2 limits"
    /// The quotas, and a limit on the tenant's charges over graduated tiers.
    case spendCap = "3 limits, one a spend cap over tiers,"
    /// The quotas, and the operator's, the provider's, each tenant's and each user's.
    case budgets = "6 limits"

    var count: Int {
        switch self {
        case .quotas: 2
        case .spendCap: 3
        case .budgets: 6
        }
    }
}

/// What the measured tenants are subscribed to: a plan with a graduated price, a per-unit price and two quotas.
struct DemoCatalog {
    struct Refused: Error, CustomStringConvertible {
        let description: String
    }

    let port: Int
    let key: String

    func make(tenants: Int) throws {
        let connection = try LoadConnection(port: port)
        try post("/meters", Self.meter, on: connection)
        try post("/features", #"{"key":"tokens","name":"Tokens","meter":"llm-tokens","unit":"token"}"#, on: connection)
        try post(
            "/features",
            """
            {"key":"output-tokens","name":"Output tokens","meter":"llm-tokens","unit":"token",\
            "filters":[{"dimension":"token_class","in":["output"]}]}
            """,
            on: connection
        )
        try post("/plans", #"{"key":"pro","name":"Pro","currency":"USD"}"#, on: connection)
        try post("/plans/pro/versions", Self.version, on: connection)
        try post("/plans/pro/versions/1/publish", "{}", on: connection)
        for (tokenClass, amount) in [("input", "0.0000025"), ("cached_input", "0.00000125"), ("output", "0.00001")] {
            try post(
                "/price-book",
                """
                {"provider":"openai","model":"gpt-4o*","token_class":"\(tokenClass)","unit_amount":"\(amount)",\
                "effective_from":"2000-01-01T00:00:00Z"}
                """,
                on: connection
            )
        }
        let start = Date().addingTimeInterval(-86_400).ISO8601Format()
        let faults = Mutex<[any Error]>([])
        DispatchQueue.concurrentPerform(iterations: Self.makers) { maker in
            do {
                let connection = try LoadConnection(port: port)
                for tenant in stride(from: maker, to: tenants, by: Self.makers) {
                    try makeTenant(tenant, since: start, on: connection)
                }
            } catch {
                faults.withLock { $0.append(error) }
            }
        }
        if let fault = faults.withLock({ $0.first }) { throw fault }
    }

    private static let makers = 8

    private func makeTenant(_ tenant: Int, since start: String, on connection: LoadConnection) throws {
        let name = Self.name(of: tenant)
        try post(
            "/tenants",
            #"{"key":"\#(name)","name":"\#(name)","currency":"USD","timezone":"Europe/Berlin"}"#,
            on: connection
        )
        try post(
            "/subscriptions",
            #"{"tenant":"\#(name)","plan":"pro","version":1,"starts_at":"\#(start)"}"#,
            on: connection
        )
    }

    /// Asks once for each tenant, so that what the service keeps of them is read before anything is measured.
    func warm(tenants: Int) throws {
        let connection = try LoadConnection(port: port)
        for first in stride(from: 0, to: tenants, by: 100) {
            let calls = (first..<min(first + 100, tenants)).map { tenant in
                """
                {"subject":"\(Self.name(of: tenant))","type":"llm.completion","source":"bench","id":"warm-\(tenant)",\
                "data":{"provider":"openai","model":"gpt-4o","input_tokens":1,"output_tokens":1},"dry_run":true}
                """
            }
            try post("/admissions", "[\(calls.joined(separator: ","))]", on: connection)
        }
    }

    static func name(of tenant: Int) -> String {
        "tenant-" + String(repeating: "0", count: 6 - String(tenant).count) + String(tenant)
    }

    /// Makes the budgets that calls are to touch beside the quotas, and takes away those before.
    func change(to limits: TouchedLimits) throws {
        let connection = try LoadConnection(port: port)
        switch limits {
        case .quotas: break
        case .spendCap:
            try post(
                "/budgets",
                """
                {"key":"spend","scope":{"tenant":"*"},"measure":"charge","currency":"USD","amount":"1000000000",\
                "window":"month","mode":"hard"}
                """,
                on: connection
            )
        case .budgets:
            try send("DELETE", "/budgets/spend", "", on: connection)
            for (budget, scope) in [
                ("company", "{}"), ("provider", #"{"provider":"openai"}"#), ("tenants", #"{"tenant":"*"}"#),
                ("users", #"{"tenant":"*","user":"*"}"#),
            ] {
                try post(
                    "/budgets",
                    """
                    {"key":"\(budget)","scope":\(scope),"measure":"requests","amount":"1000000000","window":"day",\
                    "mode":"hard"}
                    """,
                    on: connection
                )
            }
        }
    }

    func post(_ path: String, _ body: String, on connection: LoadConnection) throws {
        try send("POST", path, body, on: connection)
    }

    /// A token of somebody who looks at the tenant's portal.
    func portalToken(of tenant: Int, on connection: LoadConnection) throws -> String {
        let answer = try send("POST", "/tenants/\(Self.name(of: tenant))/portal-sessions", "{}", on: connection)
        return try JSONDecoder().decode(PortalSession.self, from: answer).token
    }

    private struct PortalSession: Decodable {
        let token: String
    }

    @discardableResult
    private func send(
        _ method: String,
        _ path: String,
        _ body: String,
        on connection: LoadConnection
    ) throws -> Data {
        let request = """
            \(method) /api/v1\(path) HTTP/1.1\r
            Host: 127.0.0.1:\(port)\r
            Authorization: Bearer \(key)\r
            Content-Type: application/json\r
            Content-Length: \(body.utf8.count)\r
            \r
            \(body)
            """
        let answer = try connection.exchange(Array(request.utf8))
        guard (200..<300).contains(answer.status) else {
            throw Refused(
                description: "\(method) \(path): \(answer.status) \(String(decoding: answer.body, as: UTF8.self))"
            )
        }
        return Data(answer.body)
    }

    private static let meter = """
        {"key":"llm-tokens","event_type":"llm.completion","aggregation":"sum","class_dimension":"token_class",\
        "value":{"uncached_input":"uncached_input_tokens","cached_input":"cached_input_tokens",\
        "cache_write":"cache_write_tokens","output":"output_tokens"},"dimensions":{"model":"model"}}
        """

    private static let version = """
        {"interval":"month","fees":[{"key":"platform","name":"Platform fee","amount":"20.00","charged":"in_advance"}],\
        "charges":[{"feature":"tokens","price":{"model":"graduated","tiers":[\
        {"up_to":"1000000","unit_amount":"0"},{"up_to":null,"unit_amount":"0.000002"}]}},\
        {"feature":"output-tokens","price":{"model":"per_unit","unit_amount":"0.00001"}}],\
        "quotas":[{"feature":"tokens","limit":"5000000000","window":"billing_period","mode":"hard","overage":"denied"},\
        {"feature":"output-tokens","limit":"100000000","window":"day","mode":"soft","overage":"allowed"}]}
        """
}
