-- distinct_values: one row per value of a column
SELECT DISTINCT {column} AS value FROM ({rows}) WHERE {column} IS NOT NULL ORDER BY value;
