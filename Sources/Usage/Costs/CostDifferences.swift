/// Provider costs of a tenant's events that the price book does not bear out. Only the first are told one by one.
struct CostDifferences {
    private static let limit = 100

    private let tenant: String
    private var told: [UsageDifference] = []
    private var untoldCount = 0

    init(tenant: String) {
        self.tenant = tenant
    }

    mutating func add(_ difference: (stored: String, rebuilt: String)?, of event: StoredEvent) {
        guard let difference else { return }
        guard told.count < Self.limit else {
            untoldCount += 1
            return
        }
        told.append(
            UsageDifference(
                tenant: tenant,
                subject: "the provider cost of event \(event.event.id) of \(event.event.source)",
                stored: difference.stored,
                rebuilt: difference.rebuilt
            )
        )
    }

    var all: [UsageDifference] {
        guard untoldCount > 0 else { return told }
        return told + [
            UsageDifference(
                tenant: tenant,
                subject: "the provider cost of \(untoldCount) more events",
                stored: "something else",
                rebuilt: "what the price book says"
            )
        ]
    }
}
