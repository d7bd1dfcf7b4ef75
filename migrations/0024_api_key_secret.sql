-- Room: Identity. A tenant's transaction lists keys and has no business with the hashes of their secrets.
REVOKE SELECT ON api_key FROM turnpike_tenant;
GRANT SELECT (
    tenant_id, api_key_id, name, scopes, models, features, data_classes, cost_center, origin, created_at, expires_at,
    revoked_at, last_used_at, previous_secret_expires_at, revision
) ON api_key TO turnpike_tenant;
