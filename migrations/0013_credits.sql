-- Room: Invoicing. Which invoices used a credit, page by page.
CREATE INDEX credit_application_by_grant ON credit_application (tenant_id, credit_grant_id, invoice_id);

-- What a credit note did: it lowered what was still to be paid, and gave the rest back, as credit or outside. `amount` is
-- without tax, `tax` what comes on top of it, by rate in `taxes` of its lines.
ALTER TABLE credit_note
    DROP CONSTRAINT credit_note_settled_as,
    ADD COLUMN applied_to_due numeric(38,12) NOT NULL DEFAULT 0,
    ADD COLUMN refunded numeric(38,12) NOT NULL DEFAULT 0;
ALTER TABLE credit_note
    ADD CONSTRAINT credit_note_settled_as CHECK (settled_as IN ('credit', 'external')),
    ADD CONSTRAINT credit_note_settled CHECK (applied_to_due >= 0 AND refunded >= 0);
ALTER TABLE credit_note_line ADD COLUMN taxes json NOT NULL DEFAULT '[]';

-- Credit notes of all tenants by their order of creation.
CREATE INDEX credit_note_by_id ON credit_note (credit_note_id);
