package enum BillingCoreRoom {}
