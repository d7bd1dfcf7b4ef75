import BillingCore
import Postgres
import TestSupport
import Testing
import Web

@testable import Catalog

/// Where the read model holds budgets, and how it learns of their changes.
@Suite struct BudgetSnapshotTests {
    private static func input(_ key: String, _ scope: String) throws -> BudgetInput {
        let body = #"{"key":"\#(key)","scope":\#(scope),"measure":"requests","amount":"5","window":"day"}"#
        return try BudgetInput.read(JSONObjectReader(try JSONValue(parsing: body)), of: nil, costCurrency: .usd)
    }

    private static func make(
        _ key: String,
        _ scope: String,
        of tenant: TenantSnapshot?,
        _ fixture: CatalogFixture
    ) async throws {
        let input = try input(key, scope)
        let now = fixture.clock.now
        try await fixture.transaction { transaction in
            try BudgetService.lock(tenant?.id ?? .operatorWide, in: transaction)
            let manager = BudgetManager.operator
            _ = try BudgetService.create(input, for: tenant, managedBy: manager, now: now, in: transaction)
        }
    }

    @Test func thoseOfATenantAreReadWithItAndAllOthersWithTheSharedCatalogue() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(2)
            let first = try #require(try await fixture.catalog.tenant(key: "t1"))
            try await Self.make("all", "{}", of: nil, fixture)
            try await Self.make("each", #"{"tenant":"*"}"#, of: nil, fixture)
            try await Self.make("own", #"{"tenant":"t1"}"#, of: first, fixture)
            try await fixture.catalog.reload()
            fixture.catalog.invalidateAllTenants()
            #expect(fixture.catalog.current.budgets.map(\.key) == ["all", "each"])
            let tenants = try await fixture.catalog.tenants(subjects: ["t1", "t2"])
            #expect(tenants["t1"]?.budgets.map(\.key) == ["own"])
            #expect(tenants["t2"]?.budgets == [])
            let stored = try #require(tenants["t1"]?.budgets.first)
            #expect(stored.scope.exact(.tenant) == "t1" && stored.tenantID == first.id)
            #expect(stored.window == BudgetWindow(amount: FixedDecimal(5), kind: .day, mode: .hard))
            #expect(stored.thresholds.map(\.value) == [FixedDecimal(50), FixedDecimal(80), FixedDecimal(100)])
            #expect(stored.countedFrom == fixture.clock.now && stored.revision == 1)
        }
    }

    @Test func aRateIsStoredWhole() async throws {
        try await CatalogFixture.run { fixture in
            let rate = RateLimit(
                limit: 600,
                period: .minute,
                burst: 100,
                sheddablePercent: 50,
                defaultPercent: 90
            )
            var budget = Budget(
                id: LimitID(1),
                tenantID: .operatorWide,
                key: "rpm",
                scope: BudgetScope(),
                measure: .tokens,
                bound: .rate(rate),
                failurePolicy: .open,
                managedBy: .tenant,
                createdAt: fixture.clock.now,
                updatedAt: fixture.clock.now
            )
            let first = budget
            for isNew in [true, false] {
                #expect(try await fixture.transaction { try BudgetStore.insert(first, in: $0) } == isNew)
            }
            try await fixture.catalog.reload()
            #expect(try await fixture.transaction { try BudgetStore.shared(in: $0) } == [first])
            var faster = rate
            faster.limit = 900
            budget.bound = .rate(faster)
            budget.revision = 2
            let second = budget
            try await fixture.transaction { try BudgetStore.update(second, in: $0) }
            #expect(try await fixture.transaction { try BudgetStore.shared(in: $0) } == [second])
        }
    }

    /// The replica follows what another one's transaction announces with its commit.
    @Test func anotherReplicaHearsOfThem() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(1)
            let tenant = try #require(try await fixture.catalog.tenant(key: "t1"))
            let replica = Catalog(pool: fixture.pool, clock: fixture.clock.clock)
            let follower = CatalogFollower(
                catalog: replica,
                listeningWith: fixture.configuration,
                interval: .seconds(3_600),
                logger: .silent
            )
            try await CatalogTests.running(follower) {
                #expect(try await eventually { replica.current.version == 1 })
                _ = try await replica.tenant(key: "t1")
                try await Self.make("all", "{}", of: nil, fixture)
                #expect(try await eventually { replica.current.budgets.map(\.key) == ["all"] })
                #expect(replica.cachedTenant(subject: "t1") != nil)
                try await Self.make("own", #"{"tenant":"t1"}"#, of: tenant, fixture)
                let isKnown = try await eventually {
                    try await replica.tenant(key: "t1")?.budgets.map(\.key) == ["own"]
                }
                #expect(isKnown)
            }
        }
    }

    @Test func theStatementsOfHotPathsAndListsUseIndexes() async throws {
        try await CatalogFixture.run { fixture in
            try await fixture.addTenants(20_000)
            try await fixture.database.run(
                """
                INSERT INTO budget (tenant_id, limit_id, key, scope, measure, amount, window_kind, mode, thresholds,
                    alerts_on_forecast, failure_policy, managed_by, created_at, updated_at, revision)
                SELECT tenant_id, tenant_id, 'b' || tenant_id, '{}', 'requests', 1, 'day', 'hard', '{}', false, 'open',
                    'operator', now(), now(), 1
                FROM tenant;
                ANALYZE budget;
                """
            )
            var filter = BudgetStore.Filter()
            filter.tenant = TenantID(7)
            let position = BudgetStore.Position(key: "b500", tenant: TenantID(500))
            let statements: [(String, SQL)] = [
                ("of tenants", BudgetStore.ofTenants((1...50).map { TenantID($0) })),
                ("list", BudgetStore.page(BudgetStore.Filter(), after: position, limit: 51)),
                ("list of a tenant", BudgetStore.page(filter, after: position, limit: 51)),
            ]
            for (name, statement) in statements {
                let plan = try await QueryPlan(of: statement, fixture.pool)
                #expect(plan.usesIndexesOnly, "\(name): \(plan)")
            }
        }
    }
}
