-- Room: Usage. Each flush asks whether a tenant's model was unpriced before. Without the tenant this index was taken for
-- that where the table had not been analysed, and read the rows of every tenant that uses the model.
DROP INDEX unpriced_usage_by_model;
CREATE INDEX unpriced_usage_by_model ON unpriced_usage (provider, model, reason, tenant_id);
