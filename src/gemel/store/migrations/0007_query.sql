-- Called where a query goes over more rows than it may: see gemel.query.limits. Volatile, so that it is called
-- for a row and never before.
CREATE FUNCTION refuse_rows(rows_max bigint) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS
$$ BEGIN RAISE EXCEPTION 'more than % rows', rows_max USING ERRCODE = 'GM001'; END $$;
REVOKE ALL ON FUNCTION refuse_rows(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refuse_rows(bigint) TO gemel_serve;
