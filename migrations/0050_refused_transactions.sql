-- Room: Limits. Calls that are admitted together with COMMIT in one round trip: a statement that finds that not all of them
-- may be fails the transaction by this. It does the same whenever it is called, so it is immutable, which Citus wants of what
-- stands in RETURNING; the subject comes from a row, so that it isn't called while the statement is planned.
CREATE FUNCTION refuse_transaction(reason text, subject bigint) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%', reason USING ERRCODE = 'TP001', DETAIL = subject,
        HINT = 'The calls are decided one by one: nothing is wrong.';
END
$$;
REVOKE ALL ON FUNCTION refuse_transaction(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refuse_transaction(text, bigint) TO turnpike_service;
