-- comparison_ids: one row per record that holds comparisons
SELECT DISTINCT comparison_id FROM comparisons;
