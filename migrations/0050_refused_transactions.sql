-- Room: Limits. Calls that are admitted together with COMMIT in one round trip: a statement that finds that not all of them
-- may be fails the transaction by this.
CREATE FUNCTION refuse_transaction(reason text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%', reason USING ERRCODE = 'TP001',
        HINT = 'The calls are decided one by one: nothing is wrong.';
END
$$;
REVOKE ALL ON FUNCTION refuse_transaction(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refuse_transaction(text) TO turnpike_service;
