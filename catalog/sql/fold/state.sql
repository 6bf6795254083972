-- state: one row: what a fold has noted under a name, none if nothing is
SELECT value FROM fold_state WHERE name = $name;
