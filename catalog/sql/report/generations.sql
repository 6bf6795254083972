-- generations: one row per item of a task whose outputs are texts, with its source, its reference, and the outputs of the
-- dense model and of two variants (second_output is NULL if the two are the same). Of each language, or pair of
-- languages, at most 12 items are returned: 8 that are drawn at random, by a hash of their ids, and of the others the 4
-- whose first output moved furthest away from the reference, in edits per character. n_changed of all n_items have another
-- output than dense.
-- $task VARCHAR
-- $split VARCHAR
-- $first_id VARCHAR
-- $second_id VARCHAR
-- title: What do the models write?
-- anchor: generations
-- runs: generation_variants
-- optional: true
-- explanation: Source or question, reference or accepted answers, and the texts of the dense model and of two variants
-- side by side: the pruned variant that is best on dev, and the one of the same method with the largest sparsity. Each list has at most 8 items
-- of a language pair, drawn at random by a hash of their ids, and the 4 others whose first output moved furthest from
-- the reference, in edits per character. The drawn items show what outputs are like; the others show the worst that
-- happened. They are illustrations, not tests.
-- empty: No text was generated, or the store has no predictions. An entry under evaluations with task: translation and
-- pairs, or with a task whose answers are generated, fills this list.
WITH outputs AS (
    SELECT *, 0 AS place FROM item_answers($task, of_split := $split, of_variant := 'dense')
    UNION ALL
    SELECT *, 1 FROM item_answers($task, of_split := $split, of_variant := $first_id)
    UNION ALL
    SELECT *, 2 FROM item_answers($task, of_split := $split, of_variant := $second_id) WHERE $first_id <> $second_id
),
items AS (
    SELECT
        base_model_id, task, split, language, scoring_rule, protocol_id, example_id,
        replace(any_value(category), chr(10), ', ') AS category, any_value(question) AS source, any_value(gold) AS reference,
        any_value(output) FILTER (place = 0) AS dense_output,
        any_value(output) FILTER (place = 1) AS first_output,
        any_value(output) FILTER (place = 2) AS second_output
    FROM outputs
    GROUP BY base_model_id, task, split, language, scoring_rule, protocol_id, example_id
    HAVING count(*) FILTER (place = 0) > 0 AND count(*) FILTER (place = 1) > 0
),
changed AS (
    SELECT
        *,
        (levenshtein(first_output, reference) - levenshtein(dense_output, reference))
            / greatest(1, length(reference)) AS change
    FROM items
),
ranked AS (
    SELECT
        *,
        count(*) OVER cells AS n_items,
        count(*) FILTER (first_output <> dense_output) OVER cells AS n_changed,
        row_number() OVER (
            PARTITION BY base_model_id, language, scoring_rule, protocol_id ORDER BY md5(example_id), example_id
        ) <= 8 AS is_drawn
    FROM changed
    WINDOW cells AS (PARTITION BY base_model_id, language, scoring_rule, protocol_id)
),
kept AS (
    SELECT *
    FROM ranked
    QUALIFY is_drawn OR (
        change > 0 AND row_number() OVER (
            PARTITION BY base_model_id, language, scoring_rule, protocol_id, is_drawn ORDER BY change DESC, example_id
        ) <= 4
    )
)
SELECT
    m.source AS base_model, k.base_model_id, k.task, k.split,
    concat_ws(', ', k.scoring_rule, q.protocol) AS scoring_rule,
    f.label AS first_label, CASE WHEN $first_id <> $second_id THEN s.label END AS second_label,
    coalesce(f.score, f.combination) AS score, f.intervention, f.demonstration_label,
    k.language, k.n_items, k.n_changed, k.is_drawn, k.example_id, k.category, k.source, k.reference, k.dense_output,
    k.first_output, k.second_output, k.change
FROM kept AS k
JOIN base_models AS m ON m.base_model_id = k.base_model_id
JOIN internal.variant_descriptions AS f ON f.variant_id = $first_id
JOIN internal.variant_descriptions AS s ON s.variant_id = $second_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = k.protocol_id
ORDER BY
    base_model, k.base_model_id, scoring_rule, k.language, NOT k.is_drawn,
    CASE WHEN k.is_drawn THEN 0 ELSE -k.change END, md5(k.example_id), k.example_id;
