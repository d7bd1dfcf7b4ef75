import Postgres
import TestSupport
import Testing

/// Random stories of budgets, quotas and spend caps, and of the calls that they bound. Each answer must be what
/// `limits/reference.py` says, which shares no code with the service.
@Suite(.timeLimit(.minutes(15)))
struct LimitReferenceTests {
    @Test(
        "calls that are admitted, settled and forgotten under limits of many kinds are answered as by the reference",
        .enabled(if: TestTools.isCI || TestTools.installed("python") != nil, "the virtual environment is not there"),
        arguments: ReferenceStory.seeds(orElse: 1...8)
    )
    func story(seed: Int) async throws {
        let story = try await ReferenceStory(of: "Tests/ScenariosTests/limits", seed: seed)
        try await TestServer.run { server in
            try await story.play(server) { try await Self.settle(server) }
        }
    }

    /// Waits until reservations whose suspense is over hold nothing, and plans whose time has come are in force.
    private static func settle(_ server: TestServer) async throws {
        try await server.plansComeIntoForce()
        try await server.holdsFollow()
        let now = server.clock.now
        let isDone = try await eventually {
            try await server.column(
                "SELECT reservation_id::text FROM reservation WHERE status = 'held' AND suspense_ends_at <= \(now)"
            ).isEmpty
        }
        #expect(isDone, "reservations whose suspense is over go on holding")
    }
}
