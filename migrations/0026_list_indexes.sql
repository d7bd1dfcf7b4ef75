-- Room: Invoicing. Lists over all tenants of invoices in a state that few are in: unpaid, or given up. Drafts have
-- invoice_due_drafts, and most are paid.
CREATE INDEX invoice_unpaid ON invoice (issued_at, invoice_id) WHERE status = 'finalized';
CREATE INDEX invoice_given_up ON invoice (issued_at, invoice_id) WHERE status IN ('uncollectible', 'void');
-- Credit notes of a span of time.
CREATE INDEX credit_note_by_creation ON credit_note (created_at, credit_note_id);

-- Room: Usage. What is unpriced by model, over all tenants, and what was not tried with the present price book.
CREATE INDEX unpriced_usage_by_model ON unpriced_usage (provider, model, reason);
CREATE INDEX unpriced_usage_by_attempt ON unpriced_usage (attempted_version);
