package import BillingCore

extension BudgetWindow {
    /// The window that contains an instant; nil for a billing period where no subscription covers it.
    /// - Parameters:
    ///   - tenant: whose usage counts; nil for a scope without a tenant.
    ///   - operatorZone: where the days of a scope without a tenant begin.
    package func interval(
        containing instant: Instant,
        of tenant: TenantSnapshot?,
        operatorZone: Zone
    ) -> Interval? {
        guard kind == .billingPeriod else {
            return CalendarWindows(zone: tenant?.zone ?? operatorZone).window(kind, containing: instant)
        }
        return tenant?.billingPeriod(containing: instant)
    }
}
