import Postgres
import TestSupport
import Testing

/// The rules every table follows, asked of `pg_catalog`. A new table is judged without being named here.
@Suite(.timeLimit(.minutes(15)))
struct SchemaRulesTests {
    @Test("every table belongs to tenants or is one of the known reference tables")
    func referenceTablesAreAClosedList() async throws {
        try await SchemaInspection.run { schema in
            let shared = try await schema.texts(
                """
                SELECT relname::text FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
                    AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'tenant_id')
                ORDER BY 1
                """
            )
            #expect(shared == SchemaInspection.referenceTables)
            let owned = try await schema.tenantOwned()
            #expect(owned.count >= 15)
            #expect(owned.contains(SchemaInspection.directory))
        }
    }

    @Test("a tenant-owned table starts with tenant_id bigint NOT NULL")
    func tenantComesFirst() async throws {
        try await SchemaInspection.run { schema in
            let first = try await schema.texts(
                """
                SELECT relname::text FROM pg_class
                JOIN pg_attribute ON attrelid = pg_class.oid AND attnum = 1
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                    AND attname = 'tenant_id' AND atttypid = 'bigint'::regtype AND attnotnull AND NOT relispartition
                ORDER BY 1
                """
            )
            #expect(try await schema.tenantOwned().filter { $0 != SchemaInspection.directory } == first)
        }
    }

    @Test("every primary key, unique and exclusion constraint and index of a tenant-owned table has tenant_id in it")
    func uniquenessIsWithinATenant() async throws {
        try await SchemaInspection.run { schema in
            let global = try await schema.texts(
                """
                SELECT table_class.relname || ' ' || index_class.relname
                FROM pg_index
                JOIN pg_class AS index_class ON index_class.oid = indexrelid
                JOIN pg_class AS table_class ON table_class.oid = indrelid
                JOIN pg_attribute AS tenant ON tenant.attrelid = indrelid AND tenant.attname = 'tenant_id'
                WHERE table_class.relnamespace = 'public'::regnamespace AND (indisunique OR indisexclusion)
                    AND NOT tenant.attnum = ANY ((indkey::smallint[])[0:indnkeyatts - 1])
                ORDER BY 1
                """
            )
            // A subject names one tenant of all, and is looked up before the tenant is known.
            #expect(global == ["\(SchemaInspection.directory) subject_directory_pk"])
            let keyless = try await schema.tenantOwned(
                having: "NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)"
            )
            #expect(keyless == [], "without a primary key")
        }
    }

    @Test("foreign keys carry the tenant along, and none leads from shared to tenant-owned")
    func foreignKeysStayWithinATenant() async throws {
        try await SchemaInspection.run { schema in
            let leaving = try await schema.texts(
                """
                SELECT conname::text
                FROM pg_constraint
                LEFT JOIN pg_attribute AS own ON own.attrelid = conrelid AND own.attname = 'tenant_id'
                JOIN pg_attribute AS other ON other.attrelid = confrelid AND other.attname = 'tenant_id'
                WHERE contype = 'f' AND (
                    own.attnum IS NULL
                    OR array_position(conkey, own.attnum) IS NULL
                    OR array_position(conkey, own.attnum) IS DISTINCT FROM array_position(confkey, other.attnum)
                )
                ORDER BY 1
                """
            )
            #expect(leaving == [])
        }
    }

    @Test("there are no triggers and no rules")
    func nothingHappensBehindTheStatements() async throws {
        try await SchemaInspection.run { schema in
            let triggers = try await schema.texts(
                "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
            )
            #expect(triggers == [])
            let rules = try await schema.texts(
                """
                SELECT rulename::text FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
                WHERE relnamespace = 'public'::regnamespace ORDER BY 1
                """
            )
            #expect(rules == [])
        }
    }

    @Test("numbers that are money or quantities are numeric(38,12), instants are timestamptz, sequences are bigint")
    func typesAreThoseOfTheRules() async throws {
        try await SchemaInspection.run { schema in
            let odd = try await schema.texts(
                """
                SELECT relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
                FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                    AND attnum > 0 AND NOT attisdropped
                    AND (
                        atttypid IN ('money'::regtype, 'real'::regtype, 'double precision'::regtype,
                            'timestamp'::regtype, 'date'::regtype, 'time'::regtype, 'timetz'::regtype)
                        OR atttypid = 'numeric'::regtype AND format_type(atttypid, atttypmod) <> 'numeric(38,12)'
                    )
                ORDER BY 1
                """
            )
            #expect(odd == [])
            let narrow = try await schema.texts(
                "SELECT seqrelid::regclass::text FROM pg_sequence WHERE seqtypid <> 'bigint'::regtype ORDER BY 1"
            )
            #expect(narrow == [])
        }
    }

    @Test("names of constraints and indexes are chosen")
    func namesAreChosen() async throws {
        try await SchemaInspection.run { schema in
            // A partition's are made by PostgreSQL and never reach a caller: an error names the parent's.
            let generated = try await schema.texts(
                """
                SELECT name FROM (
                    SELECT conname::text AS name, conrelid AS relation FROM pg_constraint
                    UNION SELECT index_class.relname::text, indrelid
                    FROM pg_index JOIN pg_class AS index_class ON index_class.oid = indexrelid
                ) AS named
                JOIN pg_class ON pg_class.oid = relation
                WHERE relnamespace = 'public'::regnamespace AND NOT relispartition AND relname <> 'schema_migration'
                    AND name ~ '_(check|key|fkey|pkey|excl|idx|not_null)[0-9]*$'
                ORDER BY 1
                """
            )
            #expect(generated == [])
        }
    }

    @Test("tables whose rows are updated in place leave room for it, and only their keys are indexed")
    func countersCanBeUpdatedInPlace() async throws {
        try await SchemaInspection.run { schema in
            let roomy = try await schema.texts(
                """
                SELECT relname::text FROM pg_class, unnest(reloptions) AS option
                WHERE option ~ '^fillfactor=([1-6][0-9]|70)$' ORDER BY 1
                """
            )
            #expect(roomy == SchemaInspection.counters)
            let hindering = try await schema.texts(
                """
                SELECT index_class.relname::text
                FROM pg_index
                JOIN pg_class AS index_class ON index_class.oid = indexrelid
                JOIN pg_index AS key ON key.indrelid = pg_index.indrelid AND key.indisprimary
                WHERE pg_index.indrelid::regclass::text = ANY (\(SchemaInspection.counters))
                    AND NOT pg_index.indkey::smallint[] <@ key.indkey::smallint[]
                ORDER BY 1
                """
            )
            #expect(hindering == [])
        }
    }

    @Test("functions have a fixed search path and are for the service only, and run as their owner where they must")
    func functionsAreClosed() async throws {
        try await SchemaInspection.run { schema in
            let own = """
                FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace
                    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
                """
            let functions = try await schema.texts(trusted: "SELECT proname::text \(own) ORDER BY 1")
            #expect(functions == ["ensure_usage_event_partition", "refuse_transaction"])
            let owners = try await schema.texts(trusted: "SELECT proname::text \(own) AND prosecdef")
            #expect(owners == ["ensure_usage_event_partition"])
            let open = try await schema.texts(
                trusted: """
                    SELECT proname::text \(own) AND NOT (
                        proconfig::text LIKE '%search_path=%pg_temp%'
                        AND NOT has_function_privilege('public', oid, 'EXECUTE')
                        AND NOT has_function_privilege('turnpike_tenant', oid, 'EXECUTE')
                    ) ORDER BY 1
                    """
            )
            #expect(open == [])
        }
    }
}
