-- forget_state: removes the value that a fold stored under a name
DELETE FROM fold_state WHERE name = $name;
