-- layer_schedule: one row per pruned variant and block: the fraction of the block's weights that is removed, and for
-- schedules that read values of blocks the block's value: its outlier ratio for owl, otherwise block_value. A variant
-- that was made from several records of values has a row for each.
-- title: Removed weights by block
-- anchor: schedules
-- optional: true
-- explanation: One line per variant whose sparsity varies over blocks, with the fraction of each block's weights that
-- is removed; dashed lines are dense propagation. Schedule owl removes less from blocks with more outliers among their
-- scores, dlp less from blocks with lower scores, alpha_pruning less from blocks with lower exponents; further panels
-- show these values of the blocks.
-- empty: All variants have the same sparsity everywhere. A variant with schedule: owl, or a given one, fills this
-- figure.
WITH RECURSIVE ancestors(variant_id, id) AS (
    SELECT v.variant_id, o.ordering_id
    FROM variants AS v
    JOIN ordering_variants AS o ON o.variant_id = v.variant_id
    WHERE v.schedule NOT IN ('uniform', 'given', 'sensitivity') AND v.combination IS NULL
    UNION
    SELECT a.variant_id, p.parent_id FROM ancestors AS a JOIN record_parents AS p ON p.id = a.id
),
ratios AS (
    SELECT a.variant_id, r.outliers_id, r.m, r.block, r.ratio
    FROM ancestors AS a
    JOIN outlier_ratios AS r ON r.outliers_id = a.id
),
block_values_read AS (
    SELECT a.variant_id, r.block_values_id, r.name, r.block, r.value
    FROM ancestors AS a
    JOIN block_values AS r ON r.block_values_id = a.id
),
blocks AS (
    SELECT variant_id, block, sum(n_weights)::BIGINT AS n_weights, sum(n_removed)::BIGINT AS n_removed
    FROM variant_layers
    GROUP BY variant_id, block
)
SELECT
    v.label, b.block, b.n_removed / nullif(b.n_weights, 0) AS removed_share, b.n_removed, b.n_weights,
    r.ratio AS outlier_ratio, r.m AS outlier_m, q.name AS block_value_name, q.value AS block_value,
    v.schedule, v.sparsity, v.achieved_sparsity, v.score, v.demonstration_label, v.propagation, v.structure, v.settings,
    m.source AS base_model, b.variant_id, r.outliers_id, q.block_values_id, v.base_model_id
FROM blocks AS b
JOIN described_variants AS v ON v.variant_id = b.variant_id
LEFT JOIN base_models AS m ON m.base_model_id = v.base_model_id
LEFT JOIN ratios AS r ON r.variant_id = b.variant_id AND r.block = b.block
LEFT JOIN block_values_read AS q ON q.variant_id = b.variant_id AND q.block = b.block
WHERE v.schedule <> 'uniform'
ORDER BY base_model, v.base_model_id, v.sparsity, v.label, b.variant_id, r.outliers_id, q.block_values_id, b.block;
