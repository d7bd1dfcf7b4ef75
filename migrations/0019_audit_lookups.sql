-- Room: Identity. What one request or one credential has done is looked up by its own name.
CREATE INDEX audit_log_by_request ON audit_log (request_id);
CREATE INDEX audit_log_by_credential ON audit_log (credential_id, occurred_at, audit_id);
