-- Which twins are not in service is asked for often, and is so of few. Partial: most twins cost nothing.
CREATE INDEX twin_lifecycle ON twin (tenant, lifecycle, twin_no) WHERE lifecycle <> 'active';
