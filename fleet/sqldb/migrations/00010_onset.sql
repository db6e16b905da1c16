-- +goose Up
-- When which finding began, to see what began on many machines together.
ALTER TABLE finding ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE finding ADD COLUMN first_seen BIGINT NOT NULL DEFAULT 0;
CREATE INDEX finding_onset ON finding (code, subject, first_seen);

-- +goose Down
DROP INDEX finding_onset;
ALTER TABLE finding DROP COLUMN first_seen;
ALTER TABLE finding DROP COLUMN subject;
