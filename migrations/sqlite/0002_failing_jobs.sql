-- Pages ask at every look which jobs fail; there are few of them among many.
CREATE INDEX jobs_failing ON jobs (json_extract(document, '$.failing_since'))
    WHERE json_extract(document, '$.failing_since') IS NOT NULL;
