import BillingCore
package import Catalog
import HTTPTypes
package import Postgres
import Usage
package import Web

/// `POST /tenants/{key}/what-if`.
package struct WhatIfRoutes: Sendable {
    let catalog: Catalog
    let pool: PostgresPool

    package init(catalog: Catalog, pool: PostgresPool) {
        self.catalog = catalog
        self.pool = pool
    }

    package func register(in operations: Operations) {
        operations.post(
            "/tenants/{key}/what-if",
            "tryPlanVersion",
            scope: .invoicesRead,
            endsWithClient: true,
            handler: run
        )
    }

    @Sendable
    private func run(_ request: APIRequest, _ context: RequestContext) async throws -> Answer {
        let key = try context.tenantKey(in: request)
        // A draft shows prices that nobody has been offered yet.
        guard context.principal.scopes.contains(.catalogRead) else {
            throw Problem.insufficientScope(needed: .catalogRead)
        }
        let input = try WhatIfInput(request.fields())
        let tenant = try await catalog.tenant(key, for: context)
        let (record, sequence) = try await pool.transaction(.interactive) { transaction in
            (
                try PlanVersionRecord.find(plan: input.plan, version: input.version, in: transaction),
                try transaction.first("SELECT ledger_seq FROM tenant_ledger WHERE tenant_id = \(tenant.id)") {
                    row throws(PostgresError) in try row.next(Int64.self)
                }
            )
        }
        guard let record else { throw CatalogFault.notFound(.planVersion, "\(input.plan) v\(input.version)").problem }
        guard record.plan.currency == tenant.currency else {
            throw CatalogFault.currencyMismatch(
                plan: record.plan.key,
                planCurrency: record.plan.currency.code,
                tenantCurrency: tenant.currency.code
            ).problem
        }
        let (subscription, indices) = try periods(input.periods, of: tenant, now: context.clock.now())
        let whatIf = WhatIf(
            tenant: tenant,
            subscription: subscription,
            proposed: record.snapshot,
            catalog: catalog.current,
            pool: pool
        )
        do {
            var periods: [WhatIf.Period] = []
            for index in indices {
                periods.append(try await whatIf.period(index, throughSequence: sequence ?? 0))
            }
            return try Answer.json(WhatIfBody(whatIf, record, periods, ledgerSequence: sequence ?? 0))
        } catch is UsageReplay.TooManyEvents {
            throw Problem(
                .unprocessableContent,
                code: "too_many_events",
                detail: "A period with this plan must be counted from its events, and one has more than "
                    + "\(UsageReplay.maximumEvents). Ask about a shorter time, or a plan without matrix prices."
            )
        } catch is DecimalError {
            throw Problem(
                .unprocessableContent,
                code: "amount_out_of_range",
                detail: "An amount comes to 10^26 or more, which is more than an amount can hold."
            )
        }
    }

    /// The subscription that is meant, and its anchored periods.
    private func periods(
        _ asked: WhatIfInput.Periods,
        of tenant: TenantSnapshot,
        now: Instant
    ) throws(Problem) -> (SubscriptionSnapshot, ClosedRange<Int>) {
        let (start, end): (Instant, Instant?) =
            switch asked {
            case .containing(let instant): (instant ?? now, nil)
            case .overlapping(let interval): (interval.start, interval.end)
            }
        guard let subscription = tenant.subscription(covering: start),
            let first = subscription.periods.index(containing: start)
        else {
            throw Problem(
                .notFound,
                code: "subscription_not_found",
                detail: "The tenant '\(tenant.key)' had no subscription with a billing period at \(start)."
            )
        }
        guard let end else { return (subscription, first...first) }
        let bound = min(end, subscription.endsAt ?? .maximum)
        let last = subscription.periods.index(containing: bound.adding(microseconds: -1)) ?? first
        guard last - first < WhatIf.maximumPeriods else {
            throw Problem(
                .unprocessableContent,
                code: "too_many_periods",
                detail: "At most \(WhatIf.maximumPeriods) billing periods can be tried at once."
            )
        }
        return (subscription, first...max(first, last))
    }
}
