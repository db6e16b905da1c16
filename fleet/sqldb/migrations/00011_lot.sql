-- +goose Up
-- The lot that a machine was counted with; counts of one lot of a profile are kept
-- under the profile's id, '@' and the lot.
ALTER TABLE host_feature ADD COLUMN lot TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE host_feature DROP COLUMN lot;
