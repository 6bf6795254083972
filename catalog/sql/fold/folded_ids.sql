-- folded_ids: one row per kind of record the catalog knows, with the ids of all of them
SELECT kind, list(id) AS ids FROM records GROUP BY kind;
