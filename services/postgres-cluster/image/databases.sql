-- The PostgreSQL image runs this once, as the role `app`, after it has created a cluster.
CREATE DATABASE todo;
CREATE DATABASE users;
