-- contents: one row per kind of record in the store, with the number of records and a fingerprint of their ids
-- title: Contents of the store
-- anchor: store
-- explanation: Records by kind; equal stores have equal fingerprints.
-- empty: The store has no records.
-- column kind: kind
-- column n_records: records
-- column fingerprint: fingerprint
SELECT kind, count(*) AS n_records, sha256(string_agg(id, ',' ORDER BY id)) AS fingerprint
FROM records
GROUP BY kind
ORDER BY kind;
