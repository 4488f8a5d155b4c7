-- A row of the feed may hold many changes of graph or models that one commit told: of a bulk write, a row for each
-- cost as much as the relationships themselves. Such a row has the number of the last of them; they are numbered and
-- recorded in a row without gaps, the first at `recorded`.
ALTER TABLE change ADD COLUMN changes int NOT NULL DEFAULT 1 CHECK (changes > 0);
