-- language_gap: one row per evaluation and metric in a language other than English: the language minus English, below 0 if
-- English is ahead; the group gap of aggregates has the same sign. minus_english_change is the change from the dense model;
-- above 0, the language is closer to English, or further ahead. It has two parts, language_change - english_change: a gap
-- also becomes smaller where English loses. Differences of perplexity are plain differences here; intervals are for
-- differences.
CREATE OR REPLACE VIEW internal.language_gap AS
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
    m.value - en.value AS minus_english,
    m.dense_value - en.dense_value AS dense_minus_english,
    (m.value - en.value) - (m.dense_value - en.dense_value) AS minus_english_change,
    a.ci_low AS minus_english_change_ci_low,
    a.ci_high AS minus_english_change_ci_high,
    a.p_value AS minus_english_change_p_value,
    en.value - en.dense_value AS english_change,
    ce.ci_low AS english_change_ci_low,
    ce.ci_high AS english_change_ci_high,
    m.value - m.dense_value AS language_change,
    c.ci_low AS language_change_ci_low,
    c.ci_high AS language_change_ci_high,
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
LEFT JOIN internal.against_dense AS c
    ON c.evaluation_id = m.evaluation_id AND c.metric = m.metric AND c.scale = 'difference'
LEFT JOIN internal.against_dense AS ce
    ON ce.evaluation_id = en.evaluation_id AND ce.metric = m.metric AND ce.scale = 'difference'
LEFT JOIN internal.aggregates AS a
    ON a.variant_id = m.variant_id
    AND a.baseline_id = c.baseline_id
    AND a.task = m.task
    AND a.split = m.split
    AND a.metric = m.metric
    AND a.group_kind = 'gap'
    AND a.group_name = m.language
    AND a.scale = 'difference'
    AND a.scoring_rule = m.scoring_rule
    AND a.protocol_id = m.protocol_id
    AND a.example_limit IS NOT DISTINCT FROM m.example_limit
WHERE m.language <> 'en';
-- english_value: the variant's value in English
-- dense_value: the dense model's value in the language
-- english_dense_value: the dense model's value in English
-- minus_english: value minus English value; below 0 if English is ahead
-- dense_minus_english: minus_english of the dense model
-- minus_english_change: minus_english minus dense_minus_english: the difference of the group gap in aggregates
-- minus_english_change_ci_low: lower end of the 95 % interval of minus_english_change, over clusters that both languages share
-- minus_english_change_ci_high: upper end of the 95 % interval of minus_english_change
-- minus_english_change_p_value: two-sided p-value of minus_english_change, without correction
-- english_change: English's part of minus_english_change, which is subtracted: the variant's value in English minus the dense model's
-- english_change_ci_low: lower end of the 95 % interval of english_change
-- english_change_ci_high: upper end of the 95 % interval of english_change
-- language_change: the language's part: the variant's value minus the dense model's
-- language_change_ci_low: lower end of the 95 % interval of language_change
-- language_change_ci_high: upper end of the 95 % interval of language_change
-- english_evaluation_id: evaluation in English
