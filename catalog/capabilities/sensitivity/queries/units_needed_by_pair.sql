-- units_needed_by_pair: one row per unit (a block, a layer in all blocks, or a layer of one block): what two languages
-- lose if only this unit is pruned, with the intervals. needed_by is both, one of the languages, or neither: a language
-- needs a unit if its loss is above 0 with p_max_t < 0.05, corrected over the units. For a pair of translation, such as
-- fr-en, ask sensitive_units with language=fr-en.
-- topic: model
-- $first VARCHAR = 'en'
-- $second VARCHAR = 'fr'
-- $by VARCHAR = 'block'
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'dev'
-- $sparsity DOUBLE = NULL
WITH losses AS (
    SELECT *, loss > 0 AND p_max_t < 0.05 AS is_needed
    FROM sensitivity
    WHERE group_kind = 'language' AND unit_kind = $by AND task = $task AND metric = $metric AND split = $split
        AND ($sparsity::DOUBLE IS NULL OR sparsity = $sparsity::DOUBLE)
)
SELECT
    a.unit, a.block, a.layer,
    CASE
        WHEN a.is_needed AND b.is_needed THEN 'both'
        WHEN a.is_needed THEN a.group_name
        WHEN b.is_needed THEN b.group_name
        ELSE 'neither'
    END AS needed_by,
    a.loss AS first_loss, a.ci_low AS first_low, a.ci_high AS first_high, a.p_max_t AS first_p,
    b.loss AS second_loss, b.ci_low AS second_low, b.ci_high AS second_high, b.p_max_t AS second_p,
    a.scale, a.sparsity, a.n_weights, a.removed_share, v.score, v.demonstration_label AS demonstrations,
    a.scoring_rule, a.example_limit, q.protocol, v.base_model_id, a.variant_id, a.sensitivity_id
FROM losses AS a
JOIN losses AS b ON b.sensitivity_id = a.sensitivity_id AND b.unit = a.unit AND b.group_name = $second
JOIN described_variants AS v ON v.variant_id = a.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = a.protocol_id
WHERE a.group_name = $first
ORDER BY
    v.base_model_id, a.sparsity, a.sensitivity_id, greatest(a.loss, b.loss) DESC, a.block NULLS FIRST, a.layer;
