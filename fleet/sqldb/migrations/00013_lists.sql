-- +goose Up
-- Exceptions that are in force are read for each result.
CREATE INDEX exception_expires ON exception (expires, id);

-- Lists of a million machines: by state, and the worst of a site first.
CREATE INDEX host_states ON host (state, id);
CREATE INDEX host_site_state ON host (site, state, name, id);

-- +goose Down
DROP INDEX host_site_state;
DROP INDEX host_states;
DROP INDEX exception_expires;
