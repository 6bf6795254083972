-- reconstruction_by_block: error of blocks before and after a fit. One row per reconstructed variant, block and
-- demonstration set that was read: the error of the hidden states after the block on the tokens of the set before and after
-- its kept weights were fitted, relative to the squared states of the dense model. change is loss_after / loss_before - 1.
-- With sequential propagation, both contain the errors of the blocks before it. The learning rate of the recipe is relative
-- to step_length, which is measured.
-- topic: methods
-- $language VARCHAR = NULL
-- $variant_id VARCHAR = NULL
SELECT
    v.label, v.sparsity, r.block, d.label AS demonstrations, d.source_language AS language, l.weight, r.loss_before,
    r.loss_after, r.loss_after / nullif(r.loss_before, 0) - 1 AS change, r.n_steps, r.step_length,
    v.base_model_id, r.variant_id, r.demonstration_set_id
FROM reconstructed_blocks AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
JOIN internal.described_sets AS d ON d.demonstration_set_id = r.demonstration_set_id
LEFT JOIN variant_demonstrations AS l
    ON l.variant_id = r.variant_id AND l.demonstration_set_id = r.demonstration_set_id AND l.role = 'reconstruction'
WHERE
    ($language::VARCHAR IS NULL OR $language::VARCHAR IN (d.source_language, d.target_language))
    AND ($variant_id::VARCHAR IS NULL OR r.variant_id = $variant_id::VARCHAR)
ORDER BY v.base_model_id, v.label, v.sparsity, r.variant_id, r.block, demonstrations, r.demonstration_set_id;
