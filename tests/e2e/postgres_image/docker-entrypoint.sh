#!/usr/bin/env bash
# The start of a container, with the environment variables of the official postgres image:
# POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB (each also as *_FILE), POSTGRES_INITDB_ARGS,
# POSTGRES_HOST_AUTH_METHOD, PGDATA, and the scripts in /docker-entrypoint-initdb.d.
set -euo pipefail

fail() {
    echo "Error: $*" >&2
    exit 1
}

read_setting() { # NAME DEFAULT
    local file_variable="$1_FILE"
    if [[ -n ${!1:-} && -n ${!file_variable:-} ]]; then
        fail "both $1 and $file_variable are set, but they exclude each other"
    fi
    local value=${!1:-$2}
    if [[ -n ${!file_variable:-} ]]; then value=$(<"${!file_variable}"); fi
    unset "$file_variable"
    export "$1=$value"
}

create_cluster() {
    local arguments
    eval "arguments=(${POSTGRES_INITDB_ARGS:-})"
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${arguments[@]}"
    local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

sql() { psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "${DATABASE:-$POSTGRES_DB}" "$@"; }

create_database() {
    [[ $POSTGRES_DB == postgres ]] || DATABASE=postgres sql --set name="$POSTGRES_DB" <<<'CREATE DATABASE :"name"'
}

run_script() {
    # shellcheck disable=SC1090 # which script that is depends on the caller
    case $1 in
    *.sh) if [[ -x $1 ]]; then "$1"; else . "$1"; fi ;;
    *.sql) sql --file "$1" ;;
    *.sql.gz) gunzip --stdout "$1" | sql ;;
    *) echo "ignoring $1" ;;
    esac
}

fill_cluster() {
    # On a socket only, so that whoever waits for the port meets the finished server.
    pg_ctl --wait start -o "-c listen_addresses='' ${*@Q}"
    create_database
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        [[ -e $script ]] && run_script "$script"
    done
    pg_ctl --wait --mode fast stop
}

if [[ ${1:-} == -* || $# -eq 0 ]]; then set -- postgres "$@"; fi
[[ $1 == postgres ]] || exec "$@"

if [[ $(id -u) == 0 ]]; then
    install -d -o postgres -g postgres -m 3777 /run/postgresql
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    find "$PGDATA" \! -user postgres -exec chown postgres {} +
    HOME=/var/lib/postgresql exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    read_setting POSTGRES_USER postgres
    read_setting POSTGRES_PASSWORD ''
    read_setting POSTGRES_DB "$POSTGRES_USER"
    if [[ -z $POSTGRES_PASSWORD && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
        fail "the database has no superuser password; set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust"
    fi
    export PGPASSWORD=$POSTGRES_PASSWORD
    create_cluster
    fill_cluster "${@:2}"
    unset PGPASSWORD
    echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@"
