-- lineage: one row per metric: everything it was made from, down to the file of its predictions. statistics_ids are the
-- statistics that the variant's masks were made from, separated by blanks.
CREATE OR REPLACE VIEW lineage AS
WITH RECURSIVE ancestors(variant_id, id) AS (
    SELECT variant_id, variant_id FROM variants
    UNION
    SELECT a.variant_id, p.parent_id FROM ancestors AS a JOIN record_parents AS p ON p.id = a.id
),
observed AS (
    SELECT a.variant_id, string_agg(s.statistics_id, ' ' ORDER BY s.statistics_id) AS statistics_ids
    FROM ancestors AS a
    JOIN statistics AS s ON s.statistics_id = a.id
    GROUP BY a.variant_id
),
files AS (
    SELECT id, path, sha256 FROM artefacts WHERE kind = 'evaluations'
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY path) = 1
)
SELECT
    m.evaluation_id,
    m.metric,
    m.value,
    m.task,
    m.language,
    m.split,
    m.variant_id,
    v.variant_name,
    v.score,
    v.propagation,
    v.sparsity,
    v.base_model_id,
    b.source AS base_model_source,
    x.ordering_id,
    x.level,
    o.statistics_ids,
    v.demonstration_set_id,
    v.contrast_set_id,
    v.set_kind,
    v.source_language,
    v.target_language,
    f.path AS artefact_path,
    f.sha256 AS artefact_sha256
FROM metrics AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN variants AS x ON x.variant_id = m.variant_id
LEFT JOIN base_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN observed AS o ON o.variant_id = m.variant_id
LEFT JOIN files AS f ON f.id = m.evaluation_id;
