-- lineage_of_metric: one row per metric of an evaluation: everything that it was made from, down to the predictions'
-- file, and the run, commit and environment that made it (for its ancestors see lineage_of_code).
-- topic: origin
-- $evaluation_id VARCHAR
WITH of_evaluation AS (
    SELECT variant_id FROM evaluations WHERE evaluation_id = $evaluation_id
),
ancestors AS MATERIALIZED (SELECT * FROM origins($evaluation_id)),
observed AS (
    SELECT string_agg(id, ' ' ORDER BY id) AS statistics_ids FROM ancestors WHERE kind = 'statistics'
),
parents AS (
    SELECT string_agg(p.parent_variant_id, ' ' ORDER BY length(p.role), p.role) AS parent_variant_ids
    FROM variant_parents AS p
    SEMI JOIN of_evaluation AS e USING (variant_id)
),
files AS (
    SELECT path, sha256 FROM artefacts WHERE kind = 'evaluations' AND id = $evaluation_id ORDER BY path LIMIT 1
),
made_by AS (
    SELECT o.run_id, o.environment_id, v.git_commit, v.code_sha256
    FROM ancestors AS o
    LEFT JOIN environments AS v ON v.environment_id = o.environment_id
    WHERE o.n_steps = 0
)
SELECT
    m.evaluation_id, m.metric, m.value, m.task, m.language, m.split, m.variant_id, v.label, v.score,
    v.propagation, v.sparsity, v.base_model_id, b.source AS base_model_source, r.ordering_id, r.level,
    o.statistics_ids, v.demonstration_set_id, v.contrast_set_id, v.set_kind, v.source_language, v.target_language,
    v.settings, v.set_ids, p.parent_variant_ids, x.mask_sha256, f.path AS artefact_path, f.sha256 AS artefact_sha256,
    y.run_id, y.environment_id, y.git_commit, y.code_sha256
FROM metrics AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN variants AS x ON x.variant_id = m.variant_id
LEFT JOIN internal.variant_orderings AS r ON r.variant_id = m.variant_id
LEFT JOIN base_models AS b ON b.base_model_id = v.base_model_id
CROSS JOIN observed AS o
CROSS JOIN parents AS p
LEFT JOIN files AS f ON true
LEFT JOIN made_by AS y ON true
WHERE m.evaluation_id = $evaluation_id
ORDER BY m.metric;
