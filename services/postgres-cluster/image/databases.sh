# The PostgreSQL image runs this once, after it has created a cluster. It creates the role `app`,
# which owns its databases and nothing else. Only this role can connect from outside the container.
psql --set=ON_ERROR_STOP=1 --set=password="$APP_PASSWORD" --username=postgres --dbname=postgres <<'END'
CREATE ROLE app LOGIN PASSWORD :'password';
CREATE DATABASE todo OWNER app;
CREATE DATABASE users OWNER app;
END
# Without `cat`, which small images do not have.
{
  echo "local all postgres trust"
  echo "host todo,users app all scram-sha-256"
} >"$PGDATA/pg_hba.conf"
