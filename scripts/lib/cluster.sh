# A PostgreSQL of the script's own: a folder of its own, a free loopback port, gone when the script ends.
# shellcheck shell=bash

clusterFolder=""
clusterBin=""
clusterURL="" # for the caller
export clusterURL

# PostgreSQL refuses to run as root, so root goes through the postgres user that the Debian package makes.
cluster_run() {
    if [ "$(id -u)" -eq 0 ]; then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}

free_port() {
    python3 - <<'PYTHON'
import socket

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    print(probe.getsockname()[1])
PYTHON
}

# cluster_base: prints where a cluster's folder goes: in memory where there is plenty, because each test creates and
# removes a database of a thousand files, and else among the temporary files.
cluster_base() {
    local needed=$((8 * 1024 * 1024)) # KiB
    local shared available
    shared=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
    available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo 2>/dev/null)
    if [ "${shared:-0}" -ge "$needed" ] && [ "${available:-0}" -ge "$needed" ] && [ -w /dev/shm ]; then
        printf '/dev/shm\n'
    else
        printf '%s\n' "${TMPDIR:-/tmp}"
    fi
}

# cluster_start: initialises and starts the server, and sets clusterURL (a superuser's). Its data is thrown
# away afterwards, so fsync is off; tests that need durability start a cluster of their own. Its password is checked by
# MD5: 4,096 rounds of SCRAM for each of the thousands of connections were a tenth of the processor time of all tests.
cluster_start() {
    local port password attempt
    clusterBin=$(postgres_bin)
    clusterFolder=$(mktemp -d "$(cluster_base)/turnpike-test.XXXXXX")
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s\n' "$password" >"$clusterFolder/password"
    if [ "$(id -u)" -eq 0 ]; then
        chown -R postgres: "$clusterFolder"
    fi
    (
        cd "$clusterFolder"
        cluster_run "$clusterBin/initdb" --pgdata="$clusterFolder/data" --username=postgres --encoding=UTF8 \
            --locale=C.UTF-8 --auth=md5 --pwfile="$clusterFolder/password" --no-sync
    ) >"$clusterFolder.log" 2>&1 || { cat "$clusterFolder.log" >&2; fail "initdb failed"; }
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        if (
            cd "$clusterFolder"
            cluster_run "$clusterBin/pg_ctl" start --wait --timeout=60 --silent --pgdata="$clusterFolder/data" \
                --log="$clusterFolder/server.log" --options="-p $port -c listen_addresses=127.0.0.1 \
                -c unix_socket_directories= -c fsync=off -c full_page_writes=off -c max_connections=400 \
                -c shared_buffers=256MB -c max_wal_size=1GB -c timezone=UTC"
        ) >>"$clusterFolder.log" 2>&1 </dev/null; then
            clusterURL="postgres://postgres:$password@127.0.0.1:$port/postgres"
            say "PostgreSQL $(cluster_run cat "$clusterFolder/data/PG_VERSION") is up on 127.0.0.1:$port"
            return 0
        fi
        say "PostgreSQL did not start on port $port (attempt $attempt)"
    done
    cat "$clusterFolder.log" "$clusterFolder/server.log" >&2 || true
    fail "PostgreSQL could not be started"
}

# end_marked MARK: ends the processes that carry TEST_RUN_MARK=MARK in their environment, which the tests give to each
# program they start. Only needed when the tests were killed; they end their own otherwise.
end_marked() {
    local environment
    for environment in /proc/[0-9]*/environ; do
        if grep -qzx "TEST_RUN_MARK=$1" "$environment" 2>/dev/null; then
            environment=${environment#/proc/}
            [ "${environment%/environ}" = "$$" ] || kill -KILL "${environment%/environ}" 2>/dev/null || true
        fi
    done
}

# cluster_stop: ends the server this script started, by its own process id, and removes its files. Silent.
cluster_stop() {
    [ -n "$clusterFolder" ] || return 0
    if [ -f "$clusterFolder/data/postmaster.pid" ]; then
        (
            cd "$clusterFolder"
            cluster_run "$clusterBin/pg_ctl" stop --wait --timeout=30 --silent --mode=immediate \
                --pgdata="$clusterFolder/data"
        ) >/dev/null 2>&1 </dev/null || true
    fi
    rm -rf "$clusterFolder" "$clusterFolder.log"
    clusterFolder=""
}
