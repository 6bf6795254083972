-- files: one row per file with predictions or items
SELECT kind, id, path, n_bytes, sha256, n_rows
FROM artefacts
WHERE (kind = 'evaluations' AND starts_with(path, 'predictions/')) OR (kind = 'task_items' AND starts_with(path, 'items/'))
ORDER BY id, path;
