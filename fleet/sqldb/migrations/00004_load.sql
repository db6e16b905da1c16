-- +goose Up
-- What a document is about, so that a machine is judged without a look at all of
-- them: model and serial number as package server writes them, '' when it may be
-- about any.
ALTER TABLE document ADD COLUMN about TEXT NOT NULL DEFAULT '';
CREATE INDEX document_about ON document (kind, about, digest) WHERE retired = 0;

-- What a name has used of what it may use in a day.
CREATE TABLE quota (
    name TEXT NOT NULL,
    what TEXT NOT NULL,
    day BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    PRIMARY KEY (name, what, day)
);
CREATE INDEX quota_day ON quota (day);

-- +goose Down
DROP TABLE quota;
DROP INDEX document_about;
ALTER TABLE document DROP COLUMN about;
