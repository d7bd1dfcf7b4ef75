-- Room: Invoicing. Whether a subscription has a draft, and the first of its drafts.
CREATE INDEX invoice_drafts_of_subscription ON invoice (tenant_id, subscription_id, period_index)
    WHERE status = 'draft';
