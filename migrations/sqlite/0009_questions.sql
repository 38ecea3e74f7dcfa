-- What the feed and the ledger are asked for, each in the very words of its question.
CREATE INDEX entries_by_team_and_kind ON entries (team, kind, idx) WHERE team IS NOT NULL;
CREATE INDEX entries_by_cluster_and_kind ON entries (cluster, kind, idx) WHERE cluster IS NOT NULL;
CREATE INDEX follow_ups_by_request ON follow_ups (json_extract(document, '$.request'));
CREATE INDEX actions_of_change ON actions (entry) WHERE mutation = 1;
CREATE INDEX actions_of_exec ON actions (entry) WHERE class IN ('exec','attach','port-forward','proxy','debug');
CREATE INDEX actions_of_secrets ON actions (entry)
    WHERE (class = 'secret-read' OR json_extract(document, '$.flags') LIKE '%"secret"%');
CREATE INDEX actions_of_rights ON actions (entry)
    WHERE (class = 'rights-change' OR json_extract(document, '$.flags') LIKE '%"rights"%');
CREATE INDEX actions_denied ON actions (entry)
    WHERE (class = 'denied' OR json_extract(document, '$.flags') LIKE '%"denied"%');
CREATE INDEX actions_by_object ON actions (json_extract(document, '$.object') COLLATE NOCASE, entry);
CREATE INDEX entries_by_time ON entries (at);
CREATE INDEX entries_by_person ON entries (person, idx) WHERE person IS NOT NULL;
