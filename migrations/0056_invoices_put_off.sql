-- Room: Invoicing. A draft that can't be finalised is put off: until when, beside `issued_at`, by which it can't be told
-- from a draft that waits its grace.
ALTER TABLE invoice ADD COLUMN finalizing_put_off_until timestamptz;
GRANT UPDATE (finalizing_put_off_until) ON invoice TO turnpike_service;

-- What is put off is counted all the time, and is little.
CREATE INDEX invoice_put_off ON invoice (finalizing_put_off_until)
    WHERE status = 'draft' AND finalizing_put_off_until IS NOT NULL;
-- Room: Catalog.
CREATE INDEX subscription_put_off ON subscription (closing_put_off_until) WHERE closing_put_off_until IS NOT NULL;
