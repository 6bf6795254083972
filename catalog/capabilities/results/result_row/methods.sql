-- methods: one row per method with one of $variant_ids that was compared with the dense model: its draws, which differ in
-- nothing but seeds, its model, its names, and the weights that it keeps
WITH draws AS (
    SELECT DISTINCT variant_ids
    FROM internal.method_differences
    WHERE group_kind = 'language' AND list_has_any(variant_ids, $variant_ids::VARCHAR[])
),
evaluated AS (
    SELECT e.variant_id, max(r.dtype) AS dtype
    FROM evaluations AS e
    JOIN records AS r ON r.kind = 'evaluations' AND r.id = e.evaluation_id
    GROUP BY e.variant_id
),
weights AS (
    SELECT variant_id, sum(n_removed)::BIGINT AS n_removed FROM variant_layers GROUP BY variant_id
),
named AS (
    SELECT id, min(name) AS name FROM names WHERE kind = 'variant' GROUP BY id
)
SELECT
    any_value(m.source) AS model, any_value(m.base_model_id) AS model_id, any_value(m.imported_revision) AS revision,
    any_value(v.method) AS method, min(n.name) AS name, min(v.label) AS label, any_value(v.structure) AS structure,
    min(v.achieved_sparsity) AS sparsity, any_value(m.n_prunable) AS n_prunable,
    min(coalesce(w.n_removed, 0)) AS n_removed, any_value(v.bits) AS bits,
    coalesce(max(e.dtype), any_value(m.dtype)) AS dtype, d.variant_ids
FROM (SELECT variant_ids, unnest(variant_ids) AS variant_id FROM draws) AS d
JOIN described_variants AS v ON v.variant_id = d.variant_id
JOIN base_models AS m ON m.base_model_id = v.base_model_id
LEFT JOIN weights AS w ON w.variant_id = v.variant_id
LEFT JOIN named AS n ON n.id = v.variant_id
LEFT JOIN evaluated AS e ON e.variant_id = v.variant_id
GROUP BY d.variant_ids
ORDER BY label, d.variant_ids;
