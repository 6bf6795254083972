-- note_state: notes something for later folds
INSERT OR REPLACE INTO fold_state VALUES ($name, $value);
