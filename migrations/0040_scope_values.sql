-- Room: Limits. Names that begin with a "#" to which more signs belong were taken for rows of another kind.
UPDATE limit_state
SET scope_value = jsonb_build_array(scope_value)::text
WHERE scope_value LIKE '#%' AND scope_value !~ '^#(money$|[0-9]+/[0-9]+/(quantity|events|cost)/)';
UPDATE rate_state
SET scope_value = jsonb_build_array(scope_value)::text
WHERE scope_value LIKE '#%';
UPDATE reservation
SET holds = (
    SELECT jsonb_agg(
        CASE WHEN hold ->> 2 LIKE '#%' AND hold ->> 2 !~ '^#(money$|[0-9]+/[0-9]+/(quantity|events|cost)/)'
            THEN jsonb_set(hold, '{2}', to_jsonb(jsonb_build_array(hold ->> 2)::text)) ELSE hold END
        ORDER BY number
    )
    FROM jsonb_array_elements(holds) WITH ORDINALITY AS element (hold, number)
)
WHERE status = 'held' AND EXISTS (
    SELECT FROM jsonb_array_elements(holds) AS hold
    WHERE hold ->> 2 LIKE '#%' AND hold ->> 2 !~ '^#(money$|[0-9]+/[0-9]+/(quantity|events|cost)/)'
);
