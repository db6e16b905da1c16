-- +goose Up
-- What the sinks of alerts were told of a subject and still hold.
CREATE TABLE alert_told (
    sink TEXT NOT NULL,
    subject TEXT NOT NULL,
    at BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (subject, sink)
);
CREATE INDEX alert_told_at ON alert_told (sink, at, subject);

-- What waits to be told, in batches.
CREATE TABLE alert_waiting (
    batch TEXT NOT NULL,
    subject TEXT NOT NULL,
    sink TEXT NOT NULL,
    at BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (batch, subject)
);
CREATE INDEX alert_waiting_subject ON alert_waiting (subject, sink, at);
CREATE INDEX alert_waiting_at ON alert_waiting (sink, at);

-- The batch of a kind that is open for a sink, locked by whoever puts something in
-- or closes it.
CREATE TABLE alert_batch (
    sink TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (sink, kind)
);
CREATE INDEX alert_batch_id ON alert_batch (id);

-- +goose Down
DROP TABLE alert_batch;
DROP TABLE alert_waiting;
DROP TABLE alert_told;
