-- folded_ids: one row per kind of record, with the ids of all folded records
SELECT kind, list(id) AS ids FROM records GROUP BY kind;
