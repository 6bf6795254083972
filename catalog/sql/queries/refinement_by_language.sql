-- refinement_by_language: which language pays for refined masks. One row per refined variant and demonstration set that it
-- read, and with by_layer per layer: the mean errors of the layers' outputs on the tokens of the set before and after the
-- swaps, relative to the squared outputs. mean_change is the mean over layers of error_after / error_before - 1, negative if
-- the set gains. Rank 1 gains least. n_worse layers have a larger error than before.
-- topic: methods
-- $language VARCHAR = NULL
-- $variant_id VARCHAR = NULL
-- $by_layer BOOLEAN = false
WITH changes AS (
    SELECT
        variant_id, demonstration_set_id, CASE WHEN $by_layer THEN block END AS of_block,
        CASE WHEN $by_layer THEN layer END AS of_layer,
        avg(error_before::DECIMAL(28, 15)) AS mean_before, -- decimals add up to the same in any order
        avg(error_after::DECIMAL(28, 15)) AS mean_after,
        avg((error_after / nullif(error_before, 0) - 1)::DECIMAL(28, 15)) AS mean_change,
        count(*) AS n_layers,
        count(*) FILTER (WHERE error_after > error_before) AS n_worse,
        sum(n_swaps)::BIGINT AS n_swaps,
        sum(n_rows_changed)::BIGINT AS n_rows_changed
    FROM refined_layers
    GROUP BY ALL
),
ranked AS (
    SELECT *, rank() OVER (PARTITION BY variant_id, of_block, of_layer ORDER BY mean_change DESC NULLS LAST) AS rank
    FROM changes
)
SELECT
    v.label, w.refiner, v.sparsity, d.label AS demonstrations, d.source_language AS language, c.of_block AS block,
    c.of_layer AS layer, c.mean_before,
    c.mean_after, c.mean_change, c.rank, c.n_layers, c.n_worse, c.n_swaps, c.n_rows_changed, l.weight, v.base_model_id,
    c.variant_id, c.demonstration_set_id
FROM ranked AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
JOIN variants AS w ON w.variant_id = c.variant_id
JOIN internal.described_sets AS d ON d.demonstration_set_id = c.demonstration_set_id
LEFT JOIN variant_demonstrations AS l
    ON l.variant_id = c.variant_id AND l.demonstration_set_id = c.demonstration_set_id AND l.role = 'calibration'
WHERE
    ($language::VARCHAR IS NULL OR $language::VARCHAR IN (d.source_language, d.target_language))
    AND ($variant_id::VARCHAR IS NULL OR c.variant_id = $variant_id::VARCHAR)
ORDER BY
    v.base_model_id, v.label, v.sparsity, c.variant_id, block NULLS FIRST, layer, c.rank, demonstrations,
    c.demonstration_set_id;
