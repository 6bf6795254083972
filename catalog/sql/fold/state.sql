-- state: one row: the value that a fold stored under a name; no row if there is none
SELECT value FROM fold_state WHERE name = $name;
