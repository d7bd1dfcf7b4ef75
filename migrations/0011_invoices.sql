-- Room: Invoicing. What an invoice says is pinned: invoice_document, invoice_line, credit_note and credit_note_line are
-- only ever inserted, and the service may not update them. What changes afterwards (paid, void) stands in invoice.

-- An invoice of a subscription's period. A draft has no document and no lines: they are computed when it is read, and
-- pinned when it is finalised. `issued_at` is when a draft is due to be finalised, and then when it was.
CREATE TABLE invoice (
    tenant_id bigint NOT NULL,
    invoice_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    kind text NOT NULL,
    period_index integer NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    reissue_of uuid,
    created_at timestamptz NOT NULL,
    status text NOT NULL,
    issued_at timestamptz NOT NULL,
    paid_at timestamptz,
    uncollectible_at timestamptz,
    voided_at timestamptz,
    -- The series' next number when it was voided: invoices from there on were made without it.
    voided_before bigint,
    -- What credit notes took off.
    credited numeric(38,12) NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT invoice_pk PRIMARY KEY (tenant_id, invoice_id),
    CONSTRAINT invoice_subscription_fk FOREIGN KEY (tenant_id, subscription_id)
        REFERENCES subscription (tenant_id, subscription_id),
    CONSTRAINT invoice_reissue_fk FOREIGN KEY (tenant_id, reissue_of) REFERENCES invoice (tenant_id, invoice_id),
    CONSTRAINT invoice_kind CHECK (kind IN ('opening', 'regular', 'adjustment')),
    CONSTRAINT invoice_status CHECK (status IN ('draft', 'finalized', 'paid', 'uncollectible', 'void')),
    CONSTRAINT invoice_credited CHECK (credited >= 0)
);
-- One opening and one regular invoice of a subscription's period stand at any time, and one adjustment is being drafted.
CREATE UNIQUE INDEX invoice_once_per_period ON invoice (tenant_id, subscription_id, kind, period_index)
    WHERE status <> 'void' AND kind <> 'adjustment';
CREATE UNIQUE INDEX invoice_one_draft_adjustment ON invoice (tenant_id, subscription_id)
    WHERE status = 'draft' AND kind = 'adjustment';
CREATE INDEX invoice_due_drafts ON invoice (issued_at, tenant_id, invoice_id) WHERE status = 'draft';
CREATE INDEX invoice_by_issue ON invoice (issued_at, invoice_id);
CREATE INDEX invoice_by_tenant_and_issue ON invoice (tenant_id, issued_at, invoice_id);
CREATE INDEX invoice_by_id ON invoice (invoice_id);

-- What a finalised invoice says, beside its lines. `facts` has what is shown and never asked for in SQL.
CREATE TABLE invoice_document (
    tenant_id bigint NOT NULL,
    invoice_id uuid NOT NULL,
    sequence bigint NOT NULL,
    number text NOT NULL,
    finalized_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    -- The tenant's ledger sequence: the usage is that of the events up to it.
    ledger_seq bigint NOT NULL,
    currency text NOT NULL,
    tenant_key text NOT NULL,
    tenant_name text NOT NULL,
    subtotal numeric(38,12) NOT NULL,
    discount numeric(38,12) NOT NULL,
    credits numeric(38,12) NOT NULL,
    tax numeric(38,12) NOT NULL,
    total numeric(38,12) NOT NULL,
    carried_forward numeric(38,12) NOT NULL,
    paid_by_credit numeric(38,12) NOT NULL,
    amount_due numeric(38,12) NOT NULL,
    facts json NOT NULL,
    -- SHA-256 of document and lines.
    content_hash bytea NOT NULL,
    CONSTRAINT invoice_document_pk PRIMARY KEY (tenant_id, invoice_id),
    CONSTRAINT invoice_document_invoice_fk FOREIGN KEY (tenant_id, invoice_id)
        REFERENCES invoice (tenant_id, invoice_id),
    CONSTRAINT invoice_document_sequence_unique UNIQUE (tenant_id, sequence),
    CONSTRAINT invoice_document_hash_length CHECK (octet_length(content_hash) = 32),
    CONSTRAINT invoice_document_amounts CHECK (
        total >= 0 AND carried_forward >= 0 AND paid_by_credit >= 0 AND amount_due = total - paid_by_credit
        AND amount_due >= 0
    )
);
CREATE INDEX invoice_document_by_sequence ON invoice_document (sequence);

-- `item` and `item_key`, with period, segment, feature and cell, name what is charged for over all invoices of the
-- subscription. `amount_exact` is the item's whole exact amount, with up to 24 digits; `amount` what this line adds to
-- `previously_invoiced`.
CREATE TABLE invoice_line (
    tenant_id bigint NOT NULL,
    invoice_id uuid NOT NULL,
    line_number integer NOT NULL,
    kind text NOT NULL,
    item text NOT NULL,
    item_key text NOT NULL,
    item_name text NOT NULL,
    subscription_id uuid NOT NULL,
    period_index integer NOT NULL,
    segment integer,
    feature_id bigint,
    cell text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    description text NOT NULL,
    quantity numeric(38,12),
    plan_version_id bigint,
    amount_exact text NOT NULL,
    previously_invoiced numeric(38,12) NOT NULL,
    amount numeric(38,12) NOT NULL,
    discount numeric(38,12) NOT NULL,
    included_credit numeric(38,12) NOT NULL,
    promotional_credit numeric(38,12) NOT NULL,
    tax numeric(38,12) NOT NULL,
    facts json NOT NULL,
    CONSTRAINT invoice_line_pk PRIMARY KEY (tenant_id, invoice_id, line_number),
    CONSTRAINT invoice_line_invoice_fk FOREIGN KEY (tenant_id, invoice_id)
        REFERENCES invoice (tenant_id, invoice_id),
    CONSTRAINT invoice_line_kind CHECK (kind IN ('fee', 'usage', 'commitment', 'adjustment')),
    CONSTRAINT invoice_line_item CHECK (
        item IN ('fee_in_advance', 'fee_in_arrears', 'usage', 'commitment', 'included_credit')
    )
);
CREATE INDEX invoice_line_by_period ON invoice_line (tenant_id, subscription_id, period_index);

-- The next number of each gapless series. It is locked last, so that whoever holds it needs nothing more.
CREATE TABLE invoice_series (
    tenant_id bigint NOT NULL,
    series text NOT NULL,
    prefix text NOT NULL,
    next_sequence bigint NOT NULL,
    CONSTRAINT invoice_series_pk PRIMARY KEY (tenant_id, series),
    CONSTRAINT invoice_series_next CHECK (next_sequence >= 1)
);
INSERT INTO invoice_series (tenant_id, series, prefix, next_sequence)
VALUES (0, 'invoice', 'INV-', 1), (0, 'credit_note', 'CN-', 1);

-- Credit that a tenant has: given away (promotional), or paid for or owed to it (prepaid).
CREATE TABLE credit_grant (
    tenant_id bigint NOT NULL,
    credit_grant_id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    currency text NOT NULL,
    amount numeric(38,12) NOT NULL,
    remaining numeric(38,12) NOT NULL,
    priority integer NOT NULL,
    expires_at timestamptz,
    -- What made it: a request, an invoice below zero, or a credit note, with that one's id.
    origin text NOT NULL,
    origin_id uuid,
    created_at timestamptz NOT NULL,
    voided_at timestamptz,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT credit_grant_pk PRIMARY KEY (tenant_id, credit_grant_id),
    CONSTRAINT credit_grant_tenant_fk FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id),
    CONSTRAINT credit_grant_kind CHECK (kind IN ('promotional', 'prepaid')),
    CONSTRAINT credit_grant_origin CHECK (origin IN ('api', 'invoice', 'credit_note')),
    CONSTRAINT credit_grant_remaining CHECK (remaining >= 0 AND remaining <= amount)
);
CREATE INDEX credit_grant_usable ON credit_grant (tenant_id) WHERE voided_at IS NULL AND remaining > 0;

-- What an invoice uses of a credit; given back when the invoice is voided.
CREATE TABLE credit_application (
    tenant_id bigint NOT NULL,
    invoice_id uuid NOT NULL,
    credit_grant_id uuid NOT NULL,
    amount numeric(38,12) NOT NULL,
    created_at timestamptz NOT NULL,
    returned_at timestamptz,
    CONSTRAINT credit_application_pk PRIMARY KEY (tenant_id, invoice_id, credit_grant_id),
    CONSTRAINT credit_application_invoice_fk FOREIGN KEY (tenant_id, invoice_id)
        REFERENCES invoice (tenant_id, invoice_id),
    CONSTRAINT credit_application_grant_fk FOREIGN KEY (tenant_id, credit_grant_id)
        REFERENCES credit_grant (tenant_id, credit_grant_id),
    CONSTRAINT credit_application_amount CHECK (amount > 0)
);

-- What is taken off a tenant's invoices: the next one, the next `repeats`, or all.
CREATE TABLE discount (
    tenant_id bigint NOT NULL,
    discount_id uuid NOT NULL,
    name text NOT NULL,
    percent numeric(38,12),
    amount numeric(38,12),
    duration text NOT NULL,
    repeats integer,
    uses integer NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT discount_pk PRIMARY KEY (tenant_id, discount_id),
    CONSTRAINT discount_tenant_fk FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id),
    CONSTRAINT discount_value CHECK (num_nonnulls(percent, amount) = 1 AND percent BETWEEN 0 AND 100 AND amount >= 0),
    CONSTRAINT discount_duration CHECK (duration IN ('once', 'repeating', 'forever')),
    CONSTRAINT discount_repeats CHECK ((duration = 'forever') = (repeats IS NULL) AND repeats >= 1),
    CONSTRAINT discount_uses CHECK (uses >= 0 AND uses <= repeats)
);
CREATE INDEX discount_usable ON discount (tenant_id) WHERE ended_at IS NULL;

-- A part of a finalised invoice taken back. The money pays what is left of the invoice, becomes a credit, or is refunded
-- elsewhere.
CREATE TABLE credit_note (
    tenant_id bigint NOT NULL,
    credit_note_id uuid NOT NULL,
    invoice_id uuid NOT NULL,
    sequence bigint NOT NULL,
    number text NOT NULL,
    created_at timestamptz NOT NULL,
    currency text NOT NULL,
    reason text NOT NULL,
    amount numeric(38,12) NOT NULL,
    tax numeric(38,12) NOT NULL,
    total numeric(38,12) NOT NULL,
    settled_as text NOT NULL,
    facts json NOT NULL,
    CONSTRAINT credit_note_pk PRIMARY KEY (tenant_id, credit_note_id),
    CONSTRAINT credit_note_invoice_fk FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoice (tenant_id, invoice_id),
    CONSTRAINT credit_note_sequence_unique UNIQUE (tenant_id, sequence),
    CONSTRAINT credit_note_settled_as CHECK (settled_as IN ('credit', 'refund')),
    CONSTRAINT credit_note_total CHECK (total > 0)
);
CREATE INDEX credit_note_by_invoice ON credit_note (tenant_id, invoice_id, sequence);

CREATE TABLE credit_note_line (
    tenant_id bigint NOT NULL,
    credit_note_id uuid NOT NULL,
    line_number integer NOT NULL,
    invoice_id uuid NOT NULL,
    description text NOT NULL,
    amount numeric(38,12) NOT NULL,
    tax numeric(38,12) NOT NULL,
    CONSTRAINT credit_note_line_pk PRIMARY KEY (tenant_id, credit_note_id, line_number),
    CONSTRAINT credit_note_line_note_fk FOREIGN KEY (tenant_id, credit_note_id)
        REFERENCES credit_note (tenant_id, credit_note_id),
    CONSTRAINT credit_note_line_line_fk FOREIGN KEY (tenant_id, invoice_id, line_number)
        REFERENCES invoice_line (tenant_id, invoice_id, line_number),
    CONSTRAINT credit_note_line_amount CHECK (amount >= 0 AND tax >= 0)
);
CREATE INDEX credit_note_line_by_invoice ON credit_note_line (tenant_id, invoice_id);

-- Room: Catalog. How a tenant is billed: taxes, payment terms, address.
ALTER TABLE tenant ADD COLUMN billing jsonb NOT NULL DEFAULT '{}';

-- Which invoice of a subscription is to be drafted next, and when: -1 is the opening one, n the regular one of period n.
-- A subscription that ends is due at its end.
ALTER TABLE subscription
    ADD COLUMN closing_index integer NOT NULL DEFAULT -1,
    ADD COLUMN closing_due_at timestamptz,
    ADD COLUMN closing_done boolean NOT NULL DEFAULT false;
CREATE INDEX subscription_closing_due
    ON subscription (LEAST(COALESCE(closing_due_at, anchor), ends_at), tenant_id, subscription_id)
    WHERE NOT closing_done;

-- Usage that came after its period's invoice was final, and is on no invoice yet; and the ledger sequence that the
-- invoice went up to.
ALTER TABLE billing_period
    ADD COLUMN needs_adjustment boolean NOT NULL DEFAULT false,
    ADD COLUMN invoiced_seq bigint;
CREATE INDEX billing_period_needs_adjustment ON billing_period (tenant_id, subscription_id, period_index)
    WHERE needs_adjustment;

GRANT SELECT, INSERT ON invoice, invoice_document, invoice_line, credit_grant, credit_application, discount,
    credit_note, credit_note_line TO turnpike_service;
GRANT UPDATE (status, issued_at, paid_at, uncollectible_at, voided_at, voided_before, credited, updated_at, revision)
    ON invoice TO turnpike_service;
GRANT SELECT, UPDATE (next_sequence) ON invoice_series TO turnpike_service;
GRANT UPDATE (remaining, voided_at, updated_at, revision) ON credit_grant TO turnpike_service;
GRANT UPDATE (returned_at) ON credit_application TO turnpike_service;
GRANT UPDATE (uses, ended_at, updated_at, revision) ON discount TO turnpike_service;
GRANT SELECT ON invoice, invoice_document, invoice_line, credit_grant, credit_application, discount, credit_note,
    credit_note_line TO turnpike_tenant;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY[
        'invoice', 'invoice_document', 'invoice_line', 'invoice_series', 'credit_grant', 'credit_application', 'discount',
        'credit_note', 'credit_note_line'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY %I ON %I TO turnpike_service USING (true) WITH CHECK (true)',
            owned || '_service', owned);
        EXECUTE format('CREATE POLICY %I ON %I TO %I USING (true) WITH CHECK (true)',
            owned || '_owner', owned, current_user);
        EXECUTE format('CREATE POLICY %I ON %I TO turnpike_tenant '
            'USING (tenant_id = nullif(current_setting(''turnpike.tenant_id'', true), '''')::bigint) '
            'WITH CHECK (tenant_id = nullif(current_setting(''turnpike.tenant_id'', true), '''')::bigint)',
            owned || '_tenant', owned);
    END LOOP;
END
$$;
