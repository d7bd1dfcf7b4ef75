-- Room: Usage. 0049 could miss a partition that was made while it ran, and of which a dump by the owner then had nothing.
SELECT pg_advisory_xact_lock(hashtextextended('ensure_usage_event_partition', 0));
DO $$
DECLARE
    partition_name text;
BEGIN
    FOR partition_name IN
        SELECT relation.relname FROM pg_inherits
        JOIN pg_class AS relation ON relation.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'public.usage_event'::regclass AND NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = relation.oid AND polname = 'usage_event_owner'
        )
        ORDER BY relation.relname
    LOOP
        EXECUTE format('CREATE POLICY usage_event_owner ON public.%I TO %I USING (true) WITH CHECK (true)',
            partition_name, current_user);
    END LOOP;
END
$$;
