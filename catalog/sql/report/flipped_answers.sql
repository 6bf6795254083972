-- flipped_answers: one row per item that a variant answers right and the dense model wrong (gained), or the reverse
-- (lost), with the question in the evaluated language and in English. Of each language and direction at most 10 items
-- are returned, those whose margin changes most; n_flipped is the number of all. margin is the score of the right
-- candidate minus that of the best other one.
-- $task VARCHAR
-- $split VARCHAR
-- $variant_id VARCHAR
-- title: Which answers change?
-- anchor: flipped
-- runs: example_variants
-- explanation: Items that one of two variants answers right and the dense model wrong (gained), or the reverse (lost):
-- the pruned variant that is best on dev outside English, and the one of the same method with the largest sparsity.
-- Each list has at most 10 gained and 10 lost items of a language, those whose margin changes most, with the question
-- filled with its right answer, and the same question in English. The margin is the score of the right candidate minus
-- that of the best other one, before and after pruning. They are illustrations, not tests. For another variant: mlprune
-- query answers_flipped --param variant_id=ID.
-- empty: No answer of the shown variants differs from dense in its rightness, or the store has no pruned variant with
-- predictions. Variants and an entry under evaluations with task: facts fill this list.
WITH answers AS (
    SELECT
        CASE WHEN a.is_right THEN 'gained' ELSE 'lost' END AS change,
        a.*, d.chosen AS dense_chosen, d.margin AS dense_margin
    FROM item_answers($task, of_split := $split, of_variant := $variant_id) AS a
    JOIN item_answers($task, of_split := $split, of_variant := 'dense') AS d
        ON d.base_model_id = a.base_model_id AND d.language = a.language AND d.example_id = a.example_id
        AND d.scoring_rule = a.scoring_rule AND d.protocol_id = a.protocol_id
    WHERE a.is_right <> d.is_right
),
kept AS (
    SELECT *, count(*) OVER (PARTITION BY scoring_rule, protocol_id, language, change) AS n_flipped
    FROM answers
    QUALIFY row_number() OVER (
        PARTITION BY scoring_rule, protocol_id, language, change
        ORDER BY abs(margin - dense_margin) DESC NULLS LAST, example_id
    ) <= 10
),
english AS (
    SELECT DISTINCT ON (base_model_id, example_id) base_model_id, example_id, question, gold
    FROM item_answers($task, of_split := $split, of_language := 'en', of_variant := 'dense')
    ORDER BY base_model_id, example_id, evaluation_id
)
SELECT
    m.source AS base_model, k.base_model_id, k.task, k.split, concat_ws(', ', k.scoring_rule, q.protocol) AS scoring_rule,
    v.label, coalesce(v.score, v.combination) AS score, v.intervention, v.demonstration_label, v.sparsity,
    k.language, k.change, k.n_flipped, k.example_id, replace(k.category, chr(10), ', ') AS category, k.question, k.gold,
    e.question AS english_question, e.gold AS english_gold,
    k.dense_chosen, k.chosen, k.dense_margin, k.margin
FROM kept AS k
JOIN base_models AS m ON m.base_model_id = k.base_model_id
JOIN internal.variant_descriptions AS v ON v.variant_id = k.variant_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = k.protocol_id
LEFT JOIN english AS e ON e.base_model_id = k.base_model_id AND e.example_id = k.example_id
ORDER BY
    base_model, k.base_model_id, scoring_rule, k.language <> 'en', k.language, k.change,
    abs(k.margin - k.dense_margin) DESC NULLS LAST, k.example_id;
