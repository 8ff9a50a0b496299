CREATE TABLE crate (id serial PRIMARY KEY, label text NOT NULL UNIQUE, contents jsonb)
