-- Run once by the image of PostgreSQL, as the role `app`, when it has made a cluster.
CREATE DATABASE todo;
CREATE DATABASE users;
