-- artefact_files: one row per Parquet file of a record in one folder of the store
SELECT path, n_bytes, sha256, n_rows
FROM artefacts
WHERE id = $id AND starts_with(path, $folder || '/') AND ends_with(path, '.parquet')
ORDER BY path;
