-- contents: one row per kind of record in the store, with the number of records and a fingerprint of their ids
SELECT kind, count(*) AS n_records, sha256(string_agg(id, ',' ORDER BY id)) AS fingerprint
FROM records
GROUP BY kind
ORDER BY kind;
