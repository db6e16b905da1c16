-- +goose Up
-- How many machines were in which state at the end of a day, UTC, or at the last
-- count of it.
CREATE TABLE day_count (
    day BIGINT NOT NULL,
    state TEXT NOT NULL,
    hosts BIGINT NOT NULL,
    PRIMARY KEY (day, state)
);

-- Machines of one state in the orders of the pages.
CREATE INDEX host_state_attested ON host (state, last_attested, id);
CREATE INDEX host_state_since ON host (state, since, id);

-- +goose Down
DROP INDEX host_state_since;
DROP INDEX host_state_attested;
DROP TABLE day_count;
