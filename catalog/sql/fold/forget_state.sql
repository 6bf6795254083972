-- forget_state: removes what a fold has noted under a name
DELETE FROM fold_state WHERE name = $name;
