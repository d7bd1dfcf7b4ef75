-- Whether some counter of the tenant's holds so much (10^20) that an ordinary request could make it overflow. The
-- requests of such tenants are stored by one lane as a whole; the flag belongs to the tenant's snapshot, so setting it
-- raises catalog_version.
ALTER TABLE tenant_ledger ADD COLUMN has_large_counters boolean NOT NULL DEFAULT false;
