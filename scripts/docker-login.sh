#!/bin/sh
# Run once by the PostgreSQL image on an empty data folder: the login the service works with. It owns nothing. The
# two roles exist before the first migration, which then only grants them their tables.
set -eu

psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
    --set=password="$TURNPIKE_DB_PASSWORD" <<'SQL'
CREATE ROLE turnpike_service NOLOGIN;
CREATE ROLE turnpike_tenant NOLOGIN;
CREATE ROLE turnpike_login LOGIN NOINHERIT PASSWORD :'password' IN ROLE turnpike_service, turnpike_tenant;
SQL
