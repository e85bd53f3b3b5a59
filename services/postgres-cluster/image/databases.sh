# The PostgreSQL image runs this once, after it has created a cluster. It creates the role `app`,
# which owns the databases in the file `databases` and nothing else. Only this role can connect from
# outside the container.
list=/docker-entrypoint-initdb.d/databases
{
  echo "CREATE ROLE app LOGIN PASSWORD :'password';"
  while read -r name; do echo "CREATE DATABASE \"$name\" OWNER app;"; done <"$list"
} | psql --set=ON_ERROR_STOP=1 --set=password="$APP_PASSWORD" --username=postgres --dbname=postgres
{
  echo "local all postgres trust"
  while read -r name; do echo "host \"$name\" app all scram-sha-256"; done <"$list"
} >"$PGDATA/pg_hba.conf"
