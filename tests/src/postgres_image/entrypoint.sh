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
  initdb --username=postgres --auth=trust $POSTGRES_INITDB_ARGS
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl -w start -o "-c listen_addresses= -c unix_socket_directories=/tmp"
  export PGHOST=/tmp
  for script in /docker-entrypoint-initdb.d/*.sh; do
    . "$script"
  done
  pg_ctl -w -m fast stop
fi
exec postgres -c "listen_addresses=*" -c unix_socket_directories=/tmp "$@"
