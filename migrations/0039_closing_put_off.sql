-- Room: Catalog. What is due of a subscription can't be drafted: closing passes over it until then.
ALTER TABLE subscription ADD COLUMN closing_put_off_until timestamptz;
