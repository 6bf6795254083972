-- lrp2_layers: one row per pair of blocks that LRP2 was tried with, language, scoring rule and protocol: the value of
-- the pair on the development split, and whether it was chosen. The chosen pair also has its value on test and the
-- dense model's.
-- topic: model
-- $task VARCHAR = 'facts'
WITH tested AS (
    SELECT m.*, p.parent_id AS choice_id
    FROM measured AS m
    JOIN record_parents AS p ON p.id = m.evaluation_id AND p.role = 'choice'
    WHERE m.split = 'test'
    QUALIFY row_number() OVER (PARTITION BY p.parent_id, m.metric ORDER BY m.n DESC, m.evaluation_id) = 1
)
SELECT
    t.language, t.first_block, t.second_block, t.value AS dev_value, t.n AS dev_n,
    t.first_block = c.first_block AND t.second_block = c.second_block AS is_chosen,
    CASE WHEN is_chosen THEN e.value END AS test_value,
    CASE WHEN is_chosen THEN e.dense_value END AS dense_value,
    CASE WHEN is_chosen THEN e.n END AS test_n,
    t.metric, t.split, t.scoring_rule, q.protocol, v.label, b.name AS base_model, c.variant_id, c.choice_id, t.trial_id
FROM lrp2_choices AS c
JOIN record_parents AS p ON p.id = c.choice_id AND p.role = 'trials'
JOIN lrp2_trials AS t ON t.trial_id = p.parent_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = t.protocol_id
JOIN described_variants AS v ON v.variant_id = c.variant_id
JOIN internal.described_models AS b ON b.base_model_id = t.base_model_id
LEFT JOIN tested AS e ON e.choice_id = c.choice_id AND e.metric = t.metric
WHERE t.profile = 'corrected' AND t.task = $task
ORDER BY base_model, v.label, c.variant_id, t.language, t.scoring_rule, q.protocol NULLS FIRST, t.first_block,
    t.second_block, c.choice_id;
