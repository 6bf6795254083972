-- note_state: stores a value for later folds
INSERT OR REPLACE INTO fold_state VALUES ($name, $value);
