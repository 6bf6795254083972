-- comparisons_to_dense: earlier name: one row per row of against_dense about a language
CREATE OR REPLACE VIEW comparisons_to_dense AS
SELECT * EXCLUDE (base_model_id, label, method, sparsity, group_kind, group_name, languages, n_languages, n_items, value, gain, change, chance, dense_limit), n_items AS n
FROM against_dense
WHERE group_kind = 'language';
-- n: number of items
