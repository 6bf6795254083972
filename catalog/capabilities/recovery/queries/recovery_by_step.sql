-- recovery_by_step: losses of recovered variants by step. One row per variant, step and demonstration set:
-- the divergence from the dense model and the cross entropy of the texts' own tokens, as means over the counted predictions.
-- Held-out rows are measured before the first step and after every few steps; is_stored marks the state that is stored. A
-- learning rate that is too high shows as a held-out divergence that rises.
-- topic: methods
-- $language VARCHAR = NULL
-- $variant_id VARCHAR = NULL
-- $held_out BOOLEAN = true
SELECT
    v.label, v.sparsity, r.step, d.label AS demonstrations, d.source_language AS language, l.weight, r.divergence,
    r.divergence / nullif(first_value(r.divergence) OVER of_set, 0) - 1 AS change, r.cross_entropy, r.n_positions, r.is_stored,
    r.is_held_out, v.base_model_id, r.variant_id, r.demonstration_set_id
FROM recovery_losses AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
JOIN internal.described_sets AS d ON d.demonstration_set_id = r.demonstration_set_id
LEFT JOIN variant_demonstrations AS l
    ON l.variant_id = r.variant_id AND l.demonstration_set_id = r.demonstration_set_id AND l.role = 'recovery'
WHERE
    ($language::VARCHAR IS NULL OR $language::VARCHAR IN (d.source_language, d.target_language))
    AND ($variant_id::VARCHAR IS NULL OR r.variant_id = $variant_id::VARCHAR)
    AND ($held_out::BOOLEAN IS NULL OR r.is_held_out = $held_out::BOOLEAN)
WINDOW of_set AS (PARTITION BY r.variant_id, r.demonstration_set_id, r.is_held_out ORDER BY r.step)
ORDER BY v.base_model_id, v.label, v.sparsity, r.variant_id, r.is_held_out, r.step, demonstrations, r.demonstration_set_id;
