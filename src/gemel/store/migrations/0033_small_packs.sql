-- Packs that are small wait to be made one with their neighbours: which, is found here without a look at all others.
CREATE INDEX sample_pack_small ON sample_pack (tenant, series, first_time) WHERE cardinality(source_times) < 72;
