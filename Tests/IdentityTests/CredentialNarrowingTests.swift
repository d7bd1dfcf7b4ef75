import BillingCore
import TestSupport
import Testing
import Web

@testable import Identity

@Suite struct CredentialNarrowingTests {
    private let path = "/api/v1/api-keys"

    private func principal(
        models: [String]? = nil,
        features: [String]? = nil,
        dataClasses: [String]? = nil,
        costCenter: String? = nil
    ) -> Principal {
        let own = CredentialNarrowing(
            models: models,
            features: features,
            dataClasses: dataClasses,
            costCenter: costCenter
        )
        return Principal(
            credentialID: "key:test",
            tenantID: nil,
            tenantKey: nil,
            scopes: [.eventsWrite],
            narrowing: own.narrowing,
            attribution: Attribution(clientID: "key:test", costCenter: own.costCenter),
            answerKey: AnswerKey(derivedFromSecret: "s")
        )
    }

    private func wider(_ body: String, than principal: Principal) throws -> [String] {
        let fields = JSONObjectReader(try JSONValue(parsing: Array(body.utf8)))
        let narrowing = CredentialNarrowing.read(fields)
        try fields.finish()
        do {
            try principal.requireMayGrant([.eventsWrite], narrowing)
            return []
        } catch {
            #expect(error.code == "narrowing_not_held")
            return error.errors.map(\.pointer)
        }
    }

    @Test func whoIsNotNarrowedGrantsAnything() throws {
        #expect(try wider("{}", than: principal()) == [])
        #expect(try wider(#"{"models": ["x*"], "features": ["f"], "cost_center": "c"}"#, than: principal()) == [])
    }

    @Test(
        arguments: [
            (#"{"models": ["gpt-4o"]}"#, true), (#"{"models": ["gpt-4o-mini", "o3"]}"#, true),
            (#"{"models": ["gpt-4o*"]}"#, true), (#"{"models": ["gpt-4o-*"]}"#, true),
            (#"{"models": ["gpt-4*"]}"#, false),
            (#"{"models": ["o3*"]}"#, false), (#"{"models": ["*"]}"#, false), (#"{"models": ["gpt-4o", "x"]}"#, false),
            (#"{"models": null}"#, false), ("{}", false),
        ]
    )
    func modelsAreWithinWhatTheGranterHas(_ body: String, _ isWithin: Bool) throws {
        #expect(try wider(body, than: principal(models: ["gpt-4o*", "o3"])) == (isWithin ? [] : ["/models"]))
    }

    @Test func everyMemberThatIsWiderIsPointedAt() throws {
        let own = principal(features: ["chat"], dataClasses: ["public"], costCenter: "cc-1")
        #expect(try wider("{}", than: own) == ["/features", "/data_classes", "/cost_center"])
        let foreign = #"{"features": ["chat", "search"], "data_classes": ["secret"], "cost_center": "cc-2"}"#
        #expect(try wider(foreign, than: own) == ["/features", "/data_classes", "/cost_center"])
        let same = #"{"features": ["chat"], "data_classes": ["public"], "cost_center": "cc-1"}"#
        #expect(try wider(same, than: own) == [])
    }

    @Test(
        arguments: [
            (#""models": []"#, "/models"), (#""models": ["a", "a"]"#, "/models/1"),
            (#""models": ["a*b"]"#, "/models/0"),
            (#""models": "a""#, "/models"), (#""features": [1]"#, "/features/0"), (#""features": []"#, "/features"),
            (#""data_classes": [""]"#, "/data_classes/0"), (#""cost_center": """#, "/cost_center"),
            (#""cost_center": 7"#, "/cost_center"), (#""preset": "root""#, "/preset"),
        ]
    )
    func aFaultPointsAtTheMember(_ member: String, _ pointer: String) async throws {
        try await TestServer.run { server in
            let body = #"{"name": "x", "scopes": ["events:write"], \#(member)}"#
            let answer = try await server.operatorClient.post(path, body)
            #expect(answer.pointers == [pointer])
        }
    }

    @Test func aNarrowedKeyShowsItAndGrantsNoMore() async throws {
        try await TestServer.run { server in
            let made = try await server.operatorClient.post(
                path,
                """
                {"name": "n", "scopes": ["identity:write", "events:write"], "models": ["gpt-4o*"],
                 "features": ["b", "a"], "data_classes": ["public"], "cost_center": "cc-7"}
                """
            )
            #expect(made.json["models"] == .array([.string("gpt-4o*")]))
            #expect(made.json["features"] == .array([.string("a"), .string("b")]))
            #expect(made.json["data_classes"] == .array([.string("public")]))
            #expect(made.json["cost_center"]?.string == "cc-7")
            let keeper = server.anonymous.with(key: made.json["key"]?.string)
            let wide = try await keeper.post(path, #"{"name": "w", "scopes": ["events:write"], "models": ["gpt-4o"]}"#)
            #expect(wide.status == 403)
            #expect(wide.code == "narrowing_not_held")
            #expect(wide.pointers == ["/features", "/data_classes", "/cost_center"])
            let within = try await keeper.post(
                path,
                """
                {"name": "w", "scopes": ["events:write"], "models": ["gpt-4o"], "features": ["a"],
                 "data_classes": ["public"], "cost_center": "cc-7"}
                """
            )
            #expect(within.status == 201)
        }
    }

    @Test func aPresetStandsForItsScopesAlsoBesideOthers() async throws {
        try await TestServer.run { server in
            let owner = server.operatorClient
            for preset in ScopePreset.allCases {
                let made = try await owner.post(path, #"{"name": "p", "preset": "\#(preset.rawValue)"}"#)
                #expect(made.json["scopes"] == .array(preset.scopes.names.map { .string($0) }))
            }
            let both = try await owner.post(path, #"{"name": "p", "preset": "gateway", "scopes": ["audit:read"]}"#)
            let names = ["events:write", "admissions:write", "quotas:read", "audit:read"]
            #expect(both.json["scopes"] == .array(names.map { .string($0) }))
            #expect(try await owner.post(path, #"{"name": "p"}"#).pointers == ["/scopes"])
        }
    }
}
