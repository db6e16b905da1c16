-- +goose Up
-- What a document is about, so that a machine is judged without a look at all of
-- them: model and serial number as package server writes them, '' when it may be
-- about any.
ALTER TABLE document ADD COLUMN about TEXT NOT NULL DEFAULT '';
CREATE INDEX document_about ON document (kind, about, digest) WHERE retired = 0;

-- +goose Down
DROP INDEX document_about;
ALTER TABLE document DROP COLUMN about;
