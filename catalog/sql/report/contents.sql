-- contents: one row per kind of record in the store, with how many there are and a fingerprint of their ids.
SELECT kind, count(*) AS n_records, sha256(string_agg(id, ',' ORDER BY id)) AS fingerprint
FROM records
GROUP BY kind
ORDER BY kind;
