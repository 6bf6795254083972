-- count_records: one row: how many records the catalog knows
SELECT count(*) AS n FROM records;
