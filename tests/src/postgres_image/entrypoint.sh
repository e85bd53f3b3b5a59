#!/bin/sh
# Starts PostgreSQL like the published image. If there is no cluster, it creates one from the
# variables, and a temporary server without a port runs the scripts in /docker-entrypoint-initdb.d.
# Then it starts the server with the arguments.
set -eu
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown -R postgres:postgres "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
# initdb needs a name for the account.
id -un >/dev/null 2>&1 || echo "app:x:$(id -u):$(id -g)::/:/bin/sh" >>/etc/passwd
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --auth="$POSTGRES_HOST_AUTH_METHOD" $POSTGRES_INITDB_ARGS
  echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >>"$PGDATA/pg_hba.conf"
  pg_ctl -w start -o "-c listen_addresses= -c unix_socket_directories=/tmp"
  for script in /docker-entrypoint-initdb.d/*.sql; do
    psql -v ON_ERROR_STOP=1 -h /tmp -U "$POSTGRES_USER" -d postgres -f "$script"
  done
  pg_ctl -w -m fast stop
fi
exec postgres -c "listen_addresses=*" -c unix_socket_directories=/tmp "$@"
