-- folded_records: one row per folded record
SELECT kind, id FROM records;
