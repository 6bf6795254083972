-- items: one row per file with the items of a task
SELECT id, path, n_bytes, sha256, n_rows FROM artefacts WHERE kind = 'task_items' AND starts_with(path, 'items/');
