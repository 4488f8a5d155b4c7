-- Of which source of ours, or under which name of its request, a quarantined event came; the event itself may name
-- another source, or none. What waits from before has none. The rights and policies of the table hold for it, too.
ALTER TABLE quarantine ADD COLUMN read_from text;
CREATE INDEX quarantine_read_from ON quarantine (tenant, read_from, quarantine_no) WHERE read_from IS NOT NULL;
