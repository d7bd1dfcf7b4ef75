import BillingCore
import Testing
import Web

@testable import Catalog

/// Budgets as they are written, as far as they can be judged without what their scope names.
@Suite struct BudgetInputTests {
    /// What is in force of a budget's members that are not what the test is about.
    private static let cost = #""key":"b","scope":{},"measure":"cost","currency":"USD","window":"day""#
    private static let requests = #""key":"b","scope":{},"measure":"requests""#

    /// The members of a budget, and its faults.
    static let faulty: [(String, [String])] = [
        ("", ["/key required", "/scope required", "/measure required", "/amount required", "/window required"]),
        (
            #""key":"B!","scope":[],"measure":"money","amount":"1","window":"day""#,
            ["/key invalid_key", "/scope invalid_type", "/measure invalid_value"]
        ),
        (
            #"\#(requests),"amount":"1","window":"fortnight","mode":"firm","on_failure":"ajar""#,
            ["/window invalid_value", "/mode invalid_value", "/on_failure invalid_value"]
        ),
        (#"\#(requests),"amount":"-1","window":"day""#, ["/amount out_of_range"]),
        (#"\#(requests),"amount":5,"window":"day""#, ["/amount invalid_type"]),
        (#"\#(requests),"amount":"100000000000000000000000000","window":"day""#, ["/amount out_of_range"]),
        (#"\#(requests),"amount":"1","window":"day","forecast":"yes""#, ["/forecast invalid_type"]),
        (#"\#(requests),"amount":"1","window":"lifetime","forecast":true"#, ["/forecast not_applicable"]),
        (#"\#(requests),"amount":"1","window":"day","limit":"1""#, ["/limit unknown_field"]),
        // Scopes
        (
            """
            "key":"b","scope":{"user":"\(String(repeating: "ü", count: 128))"},"measure":"requests","amount":"1",\
            "window":"day"
            """, []
        ),
        (
            """
            "key":"b","scope":{"user":"\(String(repeating: "ü", count: 128))x"},"measure":"requests","amount":"1",\
            "window":"day"
            """, ["/scope/user too_long"]
        ),
        (
            #""key":"b","scope":{"team":"x"},"measure":"requests","amount":"1","window":"day""#,
            ["/scope/team unknown_field"]
        ),
        (
            #""key":"b","scope":{"user":"","model":5},"measure":"requests","amount":"1","window":"day""#,
            ["/scope/user too_short", "/scope/model invalid_type"]
        ),
        (
            #""key":"b","scope":{"user":"u*","model":"g*t"},"measure":"requests","amount":"1","window":"day""#,
            ["/scope/user invalid_value", "/scope/model invalid_value"]
        ),
        (#""key":"b","scope":{},"measure":"units","amount":"1","window":"day""#, ["/scope/feature required"]),
        (
            #""key":"b","scope":{"feature":"*"},"measure":"units","amount":"1","window":"day""#,
            ["/scope/feature required"]
        ),
        (
            #""key":"b","scope":{"user":"u9"},"measure":"requests","amount":"1","window":"billing_period""#,
            ["/scope/tenant required"]
        ),
        // Money
        (#""key":"b","scope":{},"measure":"charge","amount":"1","window":"day""#, ["/currency required"]),
        (
            #""key":"b","scope":{},"measure":"charge","amount":"1","window":"day","currency":"usd""#,
            ["/currency invalid_value"]
        ),
        (
            #""key":"b","scope":{},"measure":"cost","amount":"1","window":"day","currency":"EUR""#,
            ["/currency currency_mismatch"]
        ),
        (#"\#(requests),"amount":"1","window":"day","currency":"USD""#, ["/currency not_applicable"]),
        (#"\#(cost),"amount":"1","fallback_unit_amount":"-1""#, ["/fallback_unit_amount out_of_range"]),
        (
            #"\#(requests),"amount":"1","window":"day","fallback_unit_amount":"1""#,
            ["/fallback_unit_amount not_applicable"]
        ),
        (
            #""key":"b","scope":{"tenant":null,"user":null},"measure":"requests","amount":"1","window":"day""#,
            ["/scope/tenant invalid_type", "/scope/user invalid_type"]
        ),
        // Thresholds
        (
            #"\#(cost),"amount":"1","thresholds":[0, 1000.5, "50", true]"#,
            ["/thresholds/2 invalid_element", "/thresholds/3 invalid_element"]
        ),
        (
            #"\#(cost),"amount":"1","thresholds":[0, -5, 1000.5, 50.00000000001]"#,
            [
                "/thresholds/0 out_of_range", "/thresholds/1 out_of_range", "/thresholds/2 out_of_range",
                "/thresholds/3 out_of_range",
            ]
        ),
        (
            #"\#(cost),"amount":"1","thresholds":[50, 50.0, 40]"#,
            ["/thresholds/1 duplicate", "/thresholds/2 out_of_order"]
        ),
        (#"\#(cost),"amount":"1","thresholds":[1,2,3,4,5,6,7,8,9,10,11]"#, ["/thresholds too_many"]),
        (#"\#(cost),"amount":"1","thresholds":50"#, ["/thresholds invalid_type"]),
        // Rates
        (#"\#(requests),"rate":{}"#, ["/rate/limit required", "/rate/period required"]),
        (
            #"\#(requests),"rate":{"limit":0,"period":"fortnight","burst":0}"#,
            ["/rate/limit out_of_range", "/rate/period invalid_value", "/rate/burst out_of_range"]
        ),
        (#"\#(requests),"rate":{"limit":"600","period":"minute"}"#, ["/rate/limit invalid_type"]),
        (#"\#(requests),"rate":{"limit":1,"period":"day","sheddable_percent":96}"#, []),
        (#"\#(requests),"rate":{"limit":1,"period":"day","default_percent":50}"#, []),
        (
            #"\#(requests),"rate":{"limit":1,"period":"day","sheddable_percent":90,"default_percent":80}"#,
            ["/rate/sheddable_percent out_of_range"]
        ),
        (
            #"\#(requests),"rate":{"limit":1,"period":"day","sheddable_percent":0,"default_percent":101}"#,
            ["/rate/sheddable_percent out_of_range", "/rate/default_percent out_of_range"]
        ),
        (
            """
            \(cost),"rate":{"limit":1,"period":"day"},"amount":"1","mode":"hard","thresholds":[50],"forecast":true,\
            "fallback_unit_amount":"1"
            """,
            [
                "/amount not_applicable", "/currency not_applicable", "/window not_applicable", "/mode not_applicable",
                "/thresholds not_applicable", "/forecast not_applicable", "/fallback_unit_amount not_applicable",
                "/measure not_applicable",
            ]
        ),
        (#"\#(requests),"rate":{"limit":1,"period":"day"},"thresholds":[],"forecast":false"#, []),
        (#""key":"b","scope":{},"measure":"tokens","amount":"1","window":"day""#, ["/measure not_applicable"]),
    ]

    @Test(arguments: faulty)
    func everyFaultIsToldWithItsPlace(members: String, expected: [String]) throws {
        let found: [String]
        do {
            _ = try BudgetInput.read(
                JSONObjectReader(try JSONValue(parsing: "{\(members)}")),
                of: nil,
                costCurrency: .usd
            )
            found = []
        } catch let failure as ValidationFailure {
            found = failure.faults.map { "\($0.pointer) \($0.code)" }
        }
        #expect(Set(found) == Set(expected), "\(members)")
    }

    private static func read(_ members: String) throws -> BudgetInput {
        try BudgetInput.read(JSONObjectReader(try JSONValue(parsing: "{\(members)}")), of: nil, costCurrency: .usd)
    }

    @Test func whatIsLeftOutTakesItsDefault() throws {
        let hard = try Self.read(#"\#(Self.cost),"amount":"5000.00""#)
        #expect(
            hard.bound == .window(BudgetWindow(amount: FixedDecimal(5_000), kind: .day, mode: .hard, currency: .usd))
        )
        #expect(hard.thresholds.map(\.value.description) == ["50", "80", "100"])
        #expect(hard.failurePolicy == .closed && !hard.alertsOnForecast && hard.fallbackUnitAmount == nil)
        let soft = try Self.read(#"\#(Self.cost),"amount":"1","mode":"soft","thresholds":[99.5,2.5e2]"#)
        #expect(soft.failurePolicy == .open)
        #expect(soft.thresholds.map(\.value.description) == ["99.5", "250"])
        let silent = try Self.read(#"\#(Self.cost),"amount":"1","mode":"soft","thresholds":[],"on_failure":"closed""#)
        #expect(silent.thresholds == [] && silent.failurePolicy == .closed)
        let rate = try Self.read(#""key":"b","scope":{},"measure":"tokens","rate":{"limit":600,"period":"minute"}"#)
        #expect(rate.bound == .rate(RateLimit(limit: 600, period: .minute, burst: 600)))
        #expect(rate.thresholds == [] && rate.failurePolicy == .closed)
    }

    /// Which shares a rate is given, and which it has then.
    @Test(arguments: [
        ("", 80, 95), (#","default_percent":50"#, 50, 50), (#","default_percent":90"#, 80, 90),
        (#","sheddable_percent":99"#, 99, 99), (#","sheddable_percent":10"#, 10, 95),
    ])
    func sharesOfARate(_ members: String, _ sheddable: Int32, _ ordinary: Int32) throws {
        let budget = try Self.read(#"\#(Self.requests),"rate":{"limit":600,"period":"minute"\#(members)}"#)
        let rate = RateLimit(
            limit: 600,
            period: .minute,
            burst: 600,
            sheddablePercent: sheddable,
            defaultPercent: ordinary
        )
        #expect(budget.bound == .rate(rate))
    }

    @Test func aScopeSaysWhatItMeans() throws {
        let scope = try Self.read(
            """
            "key":"b","measure":"requests","amount":"1","window":"billing_period","scope":{"tenant":"*","user":"*",\
            "model":"gpt-4o*","plan":"pro","cost_center":"cc-7"}
            """
        ).scope
        #expect(scope.tenant == .each && scope.user == .each && scope.plan == .exact("pro"))
        #expect(scope.costCenter == .exact("cc-7") && scope.provider == nil)
        #expect(scope.model?.admits("gpt-4o-mini") == true && scope.model?.admits("o3") == false)
        #expect(scope.user?.admits("anybody") == true && scope.plan?.admits("free") == false)
        #expect(scope.exact(.plan) == "pro" && scope.exact(.user) == nil && scope.exact(.model) == nil)
        #expect(BudgetScope(postgres: scope.postgres) == scope)
        #expect(BudgetScope(postgres: BudgetScope().postgres) == BudgetScope())
    }

    @Test func eachValueHasARowThatNamesIt() throws {
        var scope = BudgetScope()
        scope.tenant = .each
        #expect(scope.splitDimensions == [] && BudgetScope.scopeValue([]) == "")
        #expect(scope.values(inScopeValue: "") == [:] && scope.values(inScopeValue: "u9") == nil)
        scope.user = .each
        #expect(scope.splitDimensions == [.user])
        // The database sees the first sign of "#" with more, which look like one.
        let keycap = "#\u{FE0F}\u{20E3}"
        for (user, text) in [
            ("u9", "u9"), (#"["u9"]"#, #"["[\"u9\"]"]"#), ("#1/2/q/", ##"["#1/2/q/"]"##), ("", ""),
            (keycap, "[\"\(keycap)\"]"),
        ] {
            #expect(BudgetScope.scopeValue([user]) == text)
            #expect(scope.values(inScopeValue: text) == [.user: user])
        }
        scope.model = .each
        let values = [#"u"9,"#, "gpt-4o"]
        let text = BudgetScope.scopeValue(values)
        #expect(scope.values(inScopeValue: text) == [.user: values[0], .model: values[1]])
        #expect(text != BudgetScope.scopeValue([#"u"9"#, ",gpt-4o"]))
        for foreign in ["u9", "[]", #"["a"]"#, #"["a",1]"#] {
            #expect(scope.values(inScopeValue: foreign) == nil, "\(foreign)")
        }
    }
}

/// Changes of budgets.
@Suite struct BudgetPatchTests {
    private static let window = Budget(
        id: LimitID(1),
        tenantID: .operatorWide,
        key: "b",
        scope: BudgetScope(),
        measure: .cost,
        bound: .window(BudgetWindow(amount: FixedDecimal(10), kind: .day, mode: .hard, currency: .usd)),
        fallbackUnitAmount: FixedDecimal(1),
        createdAt: Instant(seconds: 0),
        updatedAt: Instant(seconds: 0)
    )

    private static var requests: Budget {
        Budget(
            id: LimitID(2),
            tenantID: .operatorWide,
            key: "r",
            scope: BudgetScope(),
            measure: .requests,
            bound: .rate(RateLimit(limit: 600, period: .minute, burst: 100)),
            createdAt: Instant(seconds: 0),
            updatedAt: Instant(seconds: 0)
        )
    }

    private static func changed(_ budget: Budget, by patch: String) throws -> Budget {
        try BudgetPatch.read(try JSONValue(parsing: patch)).applied(to: budget, now: Instant(seconds: 1))
    }

    /// Whether of a rate, the patch, and its faults.
    static let faulty: [(Bool, String, [String])] = [
        (
            false,
            #"{"key":"c","scope":{},"measure":"cost","currency":"USD","window":"day"}"#,
            ["/key immutable", "/scope immutable", "/measure immutable", "/currency immutable", "/window immutable"]
        ),
        (
            false,
            #"{"amount":null,"mode":null,"thresholds":null,"forecast":null,"on_failure":null}"#,
            [
                "/amount required", "/mode required", "/thresholds required", "/forecast required",
                "/on_failure required",
            ]
        ),
        (
            true, #"{"rate":{"limit":null,"burst":null,"sheddable_percent":null,"default_percent":null}}"#,
            [
                "/rate/limit required", "/rate/burst required", "/rate/sheddable_percent required",
                "/rate/default_percent required",
            ]
        ),
        (
            false, #"{"amount":"-1","thresholds":[2,1],"name":"x"}"#,
            ["/amount out_of_range", "/thresholds/1 out_of_order", "/name unknown_field"]
        ),
        (false, #"{"rate":{"limit":1}}"#, ["/rate not_applicable"]),
        (true, #"{"rate":{"period":"day","limit":0}}"#, ["/rate/period immutable", "/rate/limit out_of_range"]),
        (true, #"{"rate":{"sheddable_percent":96}}"#, ["/rate/sheddable_percent out_of_range"]),
        (
            true,
            #"{"amount":"1","mode":"soft","thresholds":[50],"forecast":true,"fallback_unit_amount":"1"}"#,
            [
                "/amount not_applicable", "/mode not_applicable", "/thresholds not_applicable",
                "/forecast not_applicable", "/fallback_unit_amount not_applicable",
            ]
        ),
    ]

    @Test(arguments: faulty)
    func everyFaultIsToldWithItsPlace(isRate: Bool, patch: String, expected: [String]) throws {
        let failure = #expect(throws: ValidationFailure.self) {
            try Self.changed(isRate ? Self.requests : Self.window, by: patch)
        }
        #expect(failure.map { Set($0.faults.map { "\($0.pointer) \($0.code)" }) } == Set(expected))
    }

    @Test func ofARateItMayBeSaidThatItRaisesNoAlerts() throws {
        let changed = try Self.changed(Self.requests, by: #"{"thresholds":[],"forecast":false}"#)
        #expect(changed.thresholds.isEmpty && !changed.alertsOnForecast)
    }

    @Test func whatIsLeftOutStays() throws {
        let lowered = try Self.changed(Self.window, by: #"{"amount":"5","thresholds":[90]}"#)
        #expect(lowered.window?.amount == FixedDecimal(5) && lowered.window?.mode == .hard)
        #expect(lowered.thresholds.map(\.value.description) == ["90"])
        #expect(lowered.fallbackUnitAmount == FixedDecimal(1))
        #expect(lowered.revision == 2 && lowered.updatedAt == Instant(seconds: 1))
        let cleared = try Self.changed(lowered, by: #"{"fallback_unit_amount":null,"mode":"soft"}"#)
        #expect(cleared.fallbackUnitAmount == nil && cleared.window?.mode == .soft && cleared.revision == 3)
        let faster = try Self.changed(Self.requests, by: #"{"rate":{"limit":900,"default_percent":100}}"#)
        #expect(faster.rate == RateLimit(limit: 900, period: .minute, burst: 100, defaultPercent: 100))
    }

    @Test func whatChangesNothingIsNoRevision() throws {
        let same = try Self.changed(Self.window, by: #"{"amount":"10.00","mode":"hard","thresholds":[]}"#)
        #expect(same == Self.window)
    }
}

/// Budgets in place of others.
@Suite struct OverridingScopeTests {
    /// The scope of a default, one in its place, and whether that may be.
    static let scopes: [(String, String, Bool)] = [
        (#"{"tenant":"*","user":"*"}"#, #"{"tenant":"acme","user":"*"}"#, true),
        (#"{"tenant":"*","user":"*"}"#, #"{"tenant":"acme","user":"u9"}"#, true),
        (#"{"tenant":"*","user":"*"}"#, #"{"tenant":"*","user":"u9"}"#, true),
        (#"{"tenant":"*","user":"*"}"#, #"{"tenant":"*","user":"*"}"#, false),
        (#"{"tenant":"*","user":"*"}"#, #"{"tenant":"acme"}"#, false),
        (#"{"tenant":"*"}"#, #"{"tenant":"acme","user":"u9"}"#, false),
        (#"{"tenant":"acme"}"#, #"{"tenant":"beta"}"#, false),
        (#"{"model":"*"}"#, #"{"model":"gpt-4o"}"#, true),
        (#"{"model":"*"}"#, #"{"model":"gpt-4o*"}"#, false),
        (#"{"model":"gpt-4o*"}"#, #"{"model":"gpt-4o"}"#, false),
        (#"{"feature":"*","user":"*"}"#, #"{"feature":"*","user":"u9"}"#, true),
        (#"{"feature":"*","user":"*"}"#, #"{"feature":"chat","user":"*"}"#, false),
    ]

    @Test(
        "a budget may stand in place of another for values that it counts apart, and of no feature",
        arguments: scopes
    )
    func overriding(_ other: String, _ own: String, isAllowed: Bool) throws {
        #expect(try Self.scope(own).overrides(try Self.scope(other)) == isAllowed)
    }

    @Test("a row of the other is within it, or outside as a whole")
    func rows() throws {
        let own = try Self.scope(#"{"tenant":"acme","user":"u9","feature":"*"}"#)
        #expect(own.includes([.user: "u9", .feature: "chat"], tenant: "acme"))
        #expect(!own.includes([.user: "u8", .feature: "chat"], tenant: "acme"))
        #expect(!own.includes([.user: "u9", .feature: "chat"], tenant: "beta"))
        #expect(try Self.scope(#"{"user":"u9"}"#).includes([.user: "u9"], tenant: nil))
    }

    private static func scope(_ text: String) throws -> BudgetScope {
        let fields = JSONObjectReader(try JSONValue(parsing: text))
        let scope = BudgetScope.read(fields)
        try fields.finish()
        return scope
    }
}
