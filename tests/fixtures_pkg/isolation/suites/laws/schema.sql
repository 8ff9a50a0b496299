CREATE TABLE crate (id serial PRIMARY KEY, label text NOT NULL UNIQUE, contents jsonb);

CREATE TABLE lid (
    id serial PRIMARY KEY,
    crate_id int NOT NULL REFERENCES crate (id) DEFERRABLE INITIALLY DEFERRED
);
