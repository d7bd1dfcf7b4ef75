-- Room: Limits. What a reservation holds stands in its own row, so that an admission writes one row beside its limits
-- and what settles it reads one: an array of [limit's tenant, limit, scope value, start of window, amount]. It stays as
-- it was when the reservation closes. The tenant is known by its ledger row, whose version each admission reads; a
-- foreign key would lock the tenant's row for each call.

ALTER TABLE reservation ADD COLUMN holds jsonb NOT NULL DEFAULT '[]';

UPDATE reservation
SET holds = held.holds
FROM (
    SELECT tenant_id, reservation_id,
        jsonb_agg(jsonb_build_array(limit_tenant_id, limit_id, scope_value, window_start, amount::text)) AS holds
    FROM reservation_hold
    GROUP BY tenant_id, reservation_id
) AS held
WHERE reservation.tenant_id = held.tenant_id AND reservation.reservation_id = held.reservation_id;

DROP TABLE reservation_hold;
DROP INDEX reservation_by_id;
ALTER TABLE reservation
    DROP CONSTRAINT reservation_tenant_fk,
    DROP CONSTRAINT reservation_pk,
    ADD CONSTRAINT reservation_pk PRIMARY KEY (reservation_id, tenant_id);
