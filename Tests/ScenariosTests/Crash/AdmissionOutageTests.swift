import TestSupport
import Testing
import Web

/// Promise P10 for admission: while PostgreSQL is away each call is answered by the policies of the limits it touches,
/// also when the cache of credentials has aged.
@Suite(.serialized, .timeLimit(.minutes(15)))
struct AdmissionOutageTests {
    @Test("while PostgreSQL is away hard limits are closed, soft ones open, and who is unknown is refused")
    func outage() async throws {
        let settings = ["TURNPIKE_MASTER_KEY": TestServer.masterKey]
        try await ServedTurnpike.run(settings: { _ in settings }) { turnpike in
            for (tenant, mode) in [("closed", "hard"), ("open", "soft")] {
                let body = #"{"key":"\#(tenant)","name":"t","currency":"USD"}"#
                try await turnpike.client.post("/api/v1/tenants", body).expecting(201)
                let budget = """
                    {"key":"\(tenant)","scope":{"tenant":"\(tenant)"},"measure":"requests","amount":"9","window":"day",\
                    "mode":"\(mode)"}
                    """
                try await turnpike.client.post("/api/v1/budgets", budget).expecting(201)
                #expect(try await Self.admit(turnpike, tenant, "before").json["allowed"] == .bool(true))
            }
            try await turnpike.killDatabase()
            // Longer than what is known of a credential is fresh.
            let end = ContinuousClock.now + .seconds(5)
            var index = 0
            while ContinuousClock.now < end {
                index += 1
                let closed = try await Self.admit(turnpike, "closed", "\(index)")
                #expect(closed.status == 503 && closed.json["code"]?.string == "limits_unavailable", "\(closed)")
                let open = try await Self.admit(turnpike, "open", "\(index)")
                #expect(open.status == 200 && open.json["warnings"]?.text == #"["limits_unavailable"]"#, "\(open)")
                #expect(try await Self.admit(turnpike, "unknown", "\(index)").status == 503)
            }
            let stranger = turnpike.client.with(key: "tpk_stranger_0123456789abcdef0123456789abcdef")
            #expect(try await stranger.post("/api/v1/admissions", Self.call("open", "s")).status == 503)
            try await turnpike.startDatabase()
            let isBack = try await eventually(within: .seconds(30)) {
                try await Self.admit(turnpike, "closed", "after").json["allowed"] == .bool(true)
            }
            #expect(isBack)
        }
    }

    private static func call(_ tenant: String, _ id: String) -> String {
        #"{"subject":"\#(tenant)","type":"job.done","source":"gw","id":"\#(id)","data":{"seconds":1}}"#
    }

    private static func admit(_ turnpike: ServedTurnpike, _ tenant: String, _ id: String) async throws -> TestResponse {
        try await turnpike.client.post("/api/v1/admissions", call(tenant, id))
    }
}
