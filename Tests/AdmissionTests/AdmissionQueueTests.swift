import Admission
import TestSupport
import Testing
import TurnpikeServer
import Web

/// Calls that wait while others are decided.
@Suite struct AdmissionQueueTests {
    @Test("the metrics tell how many calls wait in the lanes")
    func waitingCalls() async throws {
        try await TestServer.run(configure: { $0.admission.lanes = 1 }) { server in
            try await server.arrangeQuota("100000")
            var asked: [Task<JSONValue, any Error>] = []
            try await server.whileLocked("limit_state") {
                let isTold = try await eventually {
                    // The first ones are being decided.
                    let id = "\(asked.count)"
                    asked.append(Task { try await server.admit(id) })
                    return try await server.counterValue("turnpike_admission_queue_calls") > 0
                }
                #expect(isTold)
            }
            for call in asked { #expect(try await call.value["allowed"] == .bool(true)) }
        }
    }
}
