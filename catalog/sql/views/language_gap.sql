-- language_gap: one row per evaluation and metric in a language other than English: how far English is ahead of the
-- language. gap = English value - value. gap_change = gap - gap of the dense model; below 0, the language is closer to
-- English than in the dense model.
CREATE OR REPLACE VIEW language_gap AS
SELECT
    m.base_model_id,
    m.variant_id,
    m.label,
    m.sparsity,
    m.task,
    m.split,
    m.metric,
    m.scoring_rule,
    m.example_limit,
    m.protocol_id,
    m.language,
    m.value,
    m.dense_value,
    en.value AS english_value,
    en.dense_value AS english_dense_value,
    en.value - m.value AS gap,
    en.dense_value - m.dense_value AS dense_gap,
    (en.value - m.value) - (en.dense_value - m.dense_value) AS gap_change,
    m.evaluation_id,
    en.evaluation_id AS english_evaluation_id
FROM measured AS m
JOIN measured AS en
    ON en.language = 'en'
    AND en.variant_id = m.variant_id
    AND en.task = m.task
    AND en.split = m.split
    AND en.metric = m.metric
    AND en.scoring_rule IS NOT DISTINCT FROM m.scoring_rule
    AND en.example_limit IS NOT DISTINCT FROM m.example_limit
    AND en.protocol_id = m.protocol_id
WHERE m.language <> 'en';
-- english_value: the variant's value in English
-- dense_value: the dense model's value in the language
-- english_dense_value: the dense model's value in English
-- gap: English value minus value: how far English is ahead
-- dense_gap: gap of the dense model
-- gap_change: gap minus dense_gap; below 0, the language is closer to English than in the dense model
-- english_evaluation_id: evaluation in English
