-- changes_to_dense: earlier name: one row per row of against_dense about a language that has a p-value
CREATE OR REPLACE VIEW changes_to_dense AS
SELECT * EXCLUDE (base_model_id, label, method, sparsity, group_kind, group_name, languages, n_languages, n_items, value, chance, dense_limit), n_items AS n
FROM against_dense
WHERE group_kind = 'language' AND p_value IS NOT NULL;
-- n: number of items
