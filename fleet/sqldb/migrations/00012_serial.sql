-- +goose Up
-- The chassis' serial number in capitals, by which inventories name machines.
ALTER TABLE host ADD COLUMN serial TEXT NOT NULL DEFAULT '';
CREATE INDEX host_serial ON host (serial) WHERE serial <> '';

-- +goose Down
DROP INDEX host_serial;
ALTER TABLE host DROP COLUMN serial;
