-- described_variants: one row per variant, with its name and what its demonstration set is made of.
-- is_dense marks the unpruned model; seed is that of the random score, else that of the demonstration set.
CREATE OR REPLACE VIEW described_variants AS
SELECT
    v.variant_id,
    v.base_model_id,
    n.variant_name,
    v.score,
    v.structure,
    v.propagation,
    v.sparsity,
    v.achieved_sparsity,
    v.demonstration_set_id,
    v.contrast_set_id,
    d.kind AS set_kind,
    d.source_language,
    d.target_language,
    d.shots,
    d.samples,
    coalesce(v.seed, d.seed) AS seed,
    v.intervention,
    v.sparsity = 0 AND v.intervention IS NULL AND NOT coalesce(v.weights_changed, false) AS is_dense
FROM variants AS v
LEFT JOIN demonstration_sets AS d ON d.demonstration_set_id = v.demonstration_set_id
LEFT JOIN (
    SELECT id AS variant_id, min(name) AS variant_name FROM names WHERE kind = 'variant' GROUP BY id
) AS n ON n.variant_id = v.variant_id;
