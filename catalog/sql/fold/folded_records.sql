-- folded_records: one row per record the catalog knows
SELECT kind, id FROM records;
