-- The two roles the service works under. Neither owns a table and neither may log in: a connection
-- takes turnpike_service right after login, and a tenant-scoped transaction takes turnpike_tenant.
-- An owner that may not make roles finds them made, and granted to it, by an administrator.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'turnpike_service') THEN
        CREATE ROLE turnpike_service NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'turnpike_tenant') THEN
        CREATE ROLE turnpike_tenant NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- From PostgreSQL 16 on, who makes a role is a member of it that may not SET ROLE to it; 15 doesn't know the word.
DO $$
DECLARE
    privilege constant text :=
        CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    IF NOT pg_has_role(current_user, 'turnpike_service', privilege) THEN
        EXECUTE format('GRANT turnpike_service TO %I', current_user);
    END IF;
    IF NOT pg_has_role(current_user, 'turnpike_tenant', privilege) THEN
        EXECUTE format('GRANT turnpike_tenant TO %I', current_user);
    END IF;
END
$$;

-- The migrator has made its table before the first migration; the service reads it to tell whether it is ready.
DO $$
BEGIN
    IF to_regclass('schema_migration') IS NOT NULL THEN
        GRANT SELECT ON schema_migration TO turnpike_service;
    END IF;
END
$$;

GRANT USAGE ON SCHEMA public TO turnpike_service, turnpike_tenant;

CREATE EXTENSION IF NOT EXISTS btree_gist;
