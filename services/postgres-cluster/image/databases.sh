# The PostgreSQL image runs this once, after it has created a cluster. It creates the role `app`,
# which owns its databases and nothing else. Only this role can connect from outside the container.
psql --set=ON_ERROR_STOP=1 --set=password="$APP_PASSWORD" --username=postgres --dbname=postgres <<'END'
CREATE ROLE app LOGIN PASSWORD :'password';
CREATE DATABASE todo OWNER app;
CREATE DATABASE users OWNER app;
END
cat >"$PGDATA/pg_hba.conf" <<'END'
# TYPE  DATABASE    USER      ADDRESS  METHOD
local   all         postgres           trust
host    todo,users  app       all      scram-sha-256
END
