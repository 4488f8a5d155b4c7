-- How many samples a week's file has of a series for which it does not count: so that each sample is counted once.
ALTER TABLE cold_thawed ADD COLUMN samples bigint NOT NULL DEFAULT 0;
