-- +goose Up
-- Exceptions that are in force are read for each result.
CREATE INDEX exception_expires ON exception (expires, id);

-- +goose Down
DROP INDEX exception_expires;
