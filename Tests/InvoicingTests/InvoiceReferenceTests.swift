import TestSupport
import Testing

/// Random stories of subscriptions, usage, plan changes, credits, discounts, taxes and corrections. Each invoice must
/// be what `ScenariosTests/invoices/reference.py` works out, which shares no code with the service.
@Suite(.timeLimit(.minutes(15)))
struct InvoiceReferenceTests {
    @Test(
        "what is invoiced, credited and taken back is what the reference works out",
        .enabled(if: TestTools.isCI || TestTools.installed("python") != nil, "the virtual environment is not there"),
        arguments: ReferenceStory.seeds(orElse: 1...12)
    )
    func story(seed: Int) async throws {
        let story = try await ReferenceStory(of: "Tests/ScenariosTests/invoices", seed: seed)
        try await TestServer.run { server in
            try await story.play(server) {
                try await server.plansComeIntoForce()
                try await server.close(graceHours: 24)
            }
        }
    }
}
