-- count_records: one row: number of folded records
SELECT count(*) AS n FROM records;
