-- By which actions sessions got hold of something to act as somebody else with.
CREATE INDEX actions_that_give ON actions (cluster) WHERE json_extract(document, '$.facts.gives') IS NOT NULL;
-- What was told once is not told again, also after it was settled.
CREATE INDEX findings_by_key ON findings (key, at);
