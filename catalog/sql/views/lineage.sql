-- lineage: one row per metric, with everything that it was made from, down to the file of its predictions.
-- statistics_ids are the statistics that the variant's masks were made from. set_ids are the demonstration sets that
-- its score read, with role and weight. parent_variant_ids are the parents of a combined or quantised variant. Several
-- ids are separated by blanks, sets by +.
CREATE OR REPLACE VIEW internal.lineage AS
WITH observed AS (
    SELECT variant_id, string_agg(id, ' ' ORDER BY id) AS statistics_ids
    FROM internal.variant_ancestors
    WHERE kind = 'statistics'
    GROUP BY variant_id
),
parents AS (
    SELECT variant_id, string_agg(parent_variant_id, ' ' ORDER BY length(role), role) AS parent_variant_ids
    FROM variant_parents
    GROUP BY variant_id
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
    v.label,
    v.score,
    v.propagation,
    v.sparsity,
    v.base_model_id,
    b.source AS base_model_source,
    r.ordering_id,
    r.level,
    o.statistics_ids,
    v.demonstration_set_id,
    v.contrast_set_id,
    v.set_kind,
    v.source_language,
    v.target_language,
    v.settings,
    v.set_ids,
    p.parent_variant_ids,
    x.mask_sha256,
    f.path AS artefact_path,
    f.sha256 AS artefact_sha256
FROM metrics AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN variants AS x ON x.variant_id = m.variant_id
LEFT JOIN internal.variant_orderings AS r ON r.variant_id = m.variant_id
LEFT JOIN base_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN observed AS o ON o.variant_id = m.variant_id
LEFT JOIN parents AS p ON p.variant_id = m.variant_id
LEFT JOIN files AS f ON f.id = m.evaluation_id;
-- base_model_source: where the base model was read from
-- statistics_ids: statistics that the masks were made from, separated by blanks
-- parent_variant_ids: parents of a combined or quantised variant, separated by blanks; NULL for none
-- artefact_path: file of the predictions, relative to the store
-- artefact_sha256: SHA-256 of that file, in hex
