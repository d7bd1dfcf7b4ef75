-- Room: Usage. A dump under row-level security reads each partition of the raw log by itself, and found nothing: the owner's
-- policy stood on the table alone. Partitions get one, too.
DO $$
DECLARE
    partition_name text;
BEGIN
    FOR partition_name IN
        SELECT relation.relname FROM pg_inherits
        JOIN pg_class AS relation ON relation.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'public.usage_event'::regclass
        ORDER BY relation.relname
    LOOP
        EXECUTE format('CREATE POLICY usage_event_owner ON public.%I TO %I USING (true) WITH CHECK (true)',
            partition_name, current_user);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION ensure_usage_event_partition(month_start date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    first_day date := date_trunc('month', month_start)::date;
    partition_name text := 'usage_event_' || to_char(first_day, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ensure_usage_event_partition', 0));
    -- The table itself is asked: to_regclass would answer from this session's cache, which the wait did not refresh.
    IF EXISTS (
        SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = partition_name
    ) THEN
        RETURN false;
    END IF;
    -- Made apart and attached: that lets readers and writers of the log go on, which CREATE TABLE ... PARTITION OF
    -- would make wait.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.usage_event INCLUDING ALL)', partition_name);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', partition_name);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', partition_name);
    EXECUTE format('CREATE POLICY usage_event_owner ON public.%I TO %I USING (true) WITH CHECK (true)',
        partition_name, current_user);
    EXECUTE format(
        'ALTER TABLE public.usage_event ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        partition_name,
        first_day::text || ' 00:00:00+00',
        (first_day + interval '1 month')::date::text || ' 00:00:00+00'
    );
    RETURN true;
END
$$;
