-- layers_of_model: one row per layer or other parameter of two or more dimensions of a model's block: whether it can be
-- pruned, and if not, why.
-- topic: model
-- $base_model_id VARCHAR = NULL
-- $only_dense BOOLEAN = false
SELECT
    b.name AS base_model, l.block, l.layer, l.is_pruned, l.n_weights,
    l.n_weights / sum(l.n_weights) OVER (PARTITION BY l.base_model_id) AS share,
    l.input, l.n_out, l.n_in, l.reason, l.base_model_id
FROM model_layers AS l
JOIN internal.described_models AS b ON b.base_model_id = l.base_model_id
WHERE $base_model_id::VARCHAR IS NULL OR l.base_model_id = $base_model_id::VARCHAR
QUALIFY NOT ($only_dense::BOOLEAN AND l.is_pruned)
ORDER BY base_model, l.base_model_id, l.block, NOT l.is_pruned, l.layer;
