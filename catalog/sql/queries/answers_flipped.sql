-- answers_flipped: the items that pruning gained and lost. One row per language and item that a variant answers right and
-- its baseline wrong, or the reverse. The baseline is the dense model, or another variant. change is gained or lost. margin is
-- the score of the right candidate minus the best other one.
-- topic: origin
-- first: change, language, question, gold, baseline_choice, choice
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
-- $language VARCHAR = NULL
-- $variant_id VARCHAR
-- $baseline_id VARCHAR = 'dense'
SELECT
    CASE WHEN a.is_right THEN 'gained' ELSE 'lost' END AS change,
    a.label, d.label AS baseline_label, a.language, replace(a.category, chr(10), ', ') AS category, a.cluster,
    a.example_id, a.question, a.gold,
    d.chosen AS baseline_choice, a.chosen AS choice, d.margin AS baseline_margin, a.margin, a.scoring_rule, q.protocol,
    a.variant_id, a.evaluation_id, a.base_model_id
FROM item_answers($task, of_split := $split, of_language := $language, of_variant := $variant_id) AS a
JOIN item_answers($task, of_split := $split, of_language := $language, of_variant := $baseline_id) AS d
    ON d.base_model_id = a.base_model_id AND d.language = a.language AND d.example_id = a.example_id
    AND d.scoring_rule = a.scoring_rule AND d.protocol_id = a.protocol_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = a.protocol_id
WHERE a.is_right <> d.is_right
ORDER BY a.base_model_id, a.label, a.variant_id, a.scoring_rule, q.protocol NULLS FIRST, a.language, change, a.example_id;
