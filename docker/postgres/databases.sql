-- run once, when the volume is new: Label Studio has the database of POSTGRES_DB, argenseg its own
CREATE DATABASE argenseg;
