-- Room: Catalog. What is read of a tenant's raw log under its own role names the currency of a cost. The set's prices
-- themselves stay out of reach.
GRANT SELECT (price_set_id, currency, is_reported) ON price_set TO turnpike_tenant;
